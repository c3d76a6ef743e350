import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { isSealedText, openText, sealText } from '../sealing/values.ts';
import { holdLock } from './job-lock.ts';
import { KEYS } from './keys.ts';
import { QUEUED_AT } from './queued-again.ts';
import { untilTaken } from './refusals.ts';

/*
 * Fields beside BullMQ's own on the hash of a job, gone with the job:
 *   runner  the worker process that has begun an attempt and not yet said how it went
 *   losses  how often a detection process or a worker has died under the task
 *   trail   a line for each beginning and end of an attempt, see {@link readTrail}
 *   stack   where the last fault came from, for operators
 *   queued_at  see queued-again.ts
 * BullMQ's count of stalled jobs will not do for this: a lock also runs out while Redis is away.
 *
 * The first write of each script takes no memory: a script that has begun to write goes on where Redis has none left, as
 * BullMQ's own do which end a job and hand out the next one.
 */

/** The trail of a task that is tried again and again keeps its end. */
const ADD_TO_TRAIL = `
local function note(line)
  local trail = (redis.call('HGET', KEYS[1], 'trail') or '') .. line .. '\\n'
  if #trail > 6000 then trail = string.sub(trail, (string.find(trail, '\\n', #trail - 5000, true) or 0) + 1) end
  redis.call('HSET', KEYS[1], 'trail', trail)
end`;

/** Takes note of a new attempt; an earlier runner that has left no word and lives no more has died under the task. */
const BEGIN_SCRIPT = `${ADD_TO_TRAIL}
if redis.call('EXISTS', KEYS[1]) == 0 then return {1, 0, '0'} end
local losses = tonumber(redis.call('HGET', KEYS[1], 'losses') or '0')
local left = redis.call('HGET', KEYS[1], 'runner')
redis.call('HDEL', KEYS[1], 'runner')
if left and redis.call('EXISTS', ARGV[2] .. left) == 0 then
  losses = redis.call('HINCRBY', KEYS[1], 'losses', 1)
end
redis.call('HSET', KEYS[1], 'runner', ARGV[1])
note(ARGV[3])
return {redis.call('EXISTS', KEYS[2]), losses, redis.call('HGET', KEYS[1], '${QUEUED_AT}') or '0'}`;

const LEAVE_SCRIPT = `${ADD_TO_TRAIL}
if redis.call('HGET', KEYS[1], 'runner') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'runner')
note(ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'stack', ARGV[4]) end
if ARGV[2] == 'ended' then return redis.call('HDEL', KEYS[1], 'losses') end
return redis.call('HINCRBY', KEYS[1], 'losses', ARGV[2])`;

const UNCOUNT_SCRIPT = `
local started = tonumber(redis.call('HGET', KEYS[1], 'ats') or '0')
if started < 1 then return end
redis.call('HDEL', KEYS[1], 'ats')
redis.call('HSET', KEYS[1], 'ats', started - 1)`;

/** Longest stack that is kept, in characters. */
const STACK_LENGTH = 4000;

const trailLine = (what: 'b' | 'e', at: number, text: string) =>
  `${what} ${at} ${text.replaceAll('\n', ' ').slice(0, 300)}`;

/** Of a sentence that may speak of a client's file only its code is kept where files are encrypted. */
const codeOnly = (how: string) => /^([A-Z_]+): /.exec(how)?.[1] ?? how;

const stackContext = (taskId: string) => `stack of task ${taskId}`;

function sealStack({ current }: Keyring, stack: string, taskId: string): string {
  return current === undefined || stack === '' ? stack : sealText(current, stack, stackContext(taskId));
}

/** The field `stack` of a job as it was written. */
export function openStack(keyring: Keyring, stack: string, taskId: string): string {
  if (!isSealedText(stack)) return stack;
  try {
    return openText(keyring, stack, stackContext(taskId));
  } catch {
    return 'encrypted with a key that is not there';
  }
}

export type TrailEntry = { what: 'begun'; at: number; worker: string } | { what: 'ended'; at: number; how: string };

/** The beginnings and ends of a task's attempts, the oldest first; of very many only the last. Times in ms. */
export function readTrail(text: string): TrailEntry[] {
  return text.split('\n').flatMap((line): TrailEntry[] => {
    const [, what, at, rest = ''] = /^([be]) (\d+) (.*)$/.exec(line) ?? [];
    if (what === undefined) return [];
    return [
      what === 'b' ? { what: 'begun', at: Number(at), worker: rest } : { what: 'ended', at: Number(at), how: rest },
    ];
  });
}

/** How an attempt ended, in a line for operators, and the error behind it. */
export type AttemptEnd = { how: string; cause?: unknown };

export type Attempts = {
  /**
   * An attempt begins: whether its task has been cancelled, under how many attempts something has died, and when it was
   * last queued again by hand, 0 for never.
   *
   * @param startedAt when BullMQ gave the task to this worker, in ms: what the task shows as its start
   * @throws the signal's reason where it aborts before Redis has taken the note
   */
  begin(
    taskId: string,
    startedAt: number,
    signal: AbortSignal,
  ): Promise<{ revoked: boolean; losses: number; queuedAt: number }>;
  /** The attempt has ended in an orderly way and the task goes on. */
  leave(taskId: string, end: AttemptEnd): Promise<void>;
  /** An attempt that is given back before it has begun is as if it had never been started. */
  uncount(taskId: string): Promise<void>;
  /** The detection process has died. Returns the task's losses, this one included. */
  lose(taskId: string, end: AttemptEnd): Promise<number>;
  /** The task ends without result; whoever runs it again by hand starts afresh. */
  end(taskId: string, end: AttemptEnd): Promise<void>;
  /** Makes sure of the job's lock, e.g. after an outage of Redis; false where another worker has taken the job. */
  hold(taskId: string, token: string): Promise<boolean>;
};

/**
 * Keeps account of attempts, so that a task under which something dies again and again is given up, and only such a
 * task. While Redis takes no writes, everything here waits until it does.
 *
 * @param worker the id under which this process renews its {@link KEYS.alive}, and its name
 */
export function trackAttempts(
  redis: Redis,
  queue: QueueName,
  worker: { id: string; name: string },
  keyring: Keyring,
): Attempts {
  async function leave(taskId: string, word: '0' | '1' | 'ended', { how, cause }: AttemptEnd): Promise<number> {
    const stack = cause instanceof Error ? (cause.stack ?? cause.message) : cause === undefined ? '' : String(cause);
    const line = trailLine('e', Date.now(), keyring.current === undefined ? how : codeOnly(how));
    const sealedStack = sealStack(keyring, stack.slice(0, STACK_LENGTH), taskId);
    const left = await untilTaken(() =>
      redis.eval(LEAVE_SCRIPT, 1, KEYS.job(queue, taskId), worker.id, word, line, sealedStack),
    );
    return Number(left);
  }
  return {
    async begin(taskId, startedAt, signal) {
      const keys = [KEYS.job(queue, taskId), KEYS.revoked(taskId)];
      const line = trailLine('b', startedAt, worker.name);
      const reply = (await untilTaken(
        () => redis.eval(BEGIN_SCRIPT, keys.length, ...keys, worker.id, KEYS.alive(''), line),
        signal,
      )) as [number, number, string];
      return { revoked: reply[0] === 1, losses: reply[1], queuedAt: Number(reply[2]) };
    },
    async leave(taskId, end) {
      await leave(taskId, '0', end);
    },
    async uncount(taskId) {
      await untilTaken(() => redis.eval(UNCOUNT_SCRIPT, 1, KEYS.job(queue, taskId)));
    },
    lose: (taskId, end) => leave(taskId, '1', end),
    async end(taskId, end) {
      await leave(taskId, 'ended', end);
    },
    hold: (taskId, token) => untilTaken(() => holdLock(redis, queue, taskId, token)),
  };
}
