import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { isSealedText, openText, sealText } from '../sealing/values.ts';
import { KEYS } from './keys.ts';
import { LOCK_DURATION_MS } from './queues.ts';

/*
 * Fields beside BullMQ's own on the hash of a job, gone with the job:
 *   runner  the worker process that has begun an attempt and not yet said how it went
 *   losses  how often a detection process or a worker has died under the task
 *   trail   a line for each beginning and end of an attempt, see {@link readTrail}
 *   stack   where the last fault came from, for operators
 * BullMQ's count of stalled jobs will not do for this: a lock also runs out while Redis is away.
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
if redis.call('EXISTS', KEYS[1]) == 0 then return {1, 0} end
local losses = tonumber(redis.call('HGET', KEYS[1], 'losses') or '0')
local left = redis.call('HGET', KEYS[1], 'runner')
if left and redis.call('EXISTS', ARGV[2] .. left) == 0 then
  losses = redis.call('HINCRBY', KEYS[1], 'losses', 1)
end
redis.call('HSET', KEYS[1], 'runner', ARGV[1])
note(ARGV[3])
return {redis.call('EXISTS', KEYS[2]), losses}`;

const LEAVE_SCRIPT = `${ADD_TO_TRAIL}
if redis.call('HGET', KEYS[1], 'runner') ~= ARGV[1] then return 0 end
note(ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'stack', ARGV[4]) end
redis.call('HDEL', KEYS[1], 'runner')
if ARGV[2] == 'ended' then return redis.call('HDEL', KEYS[1], 'losses') end
return redis.call('HINCRBY', KEYS[1], 'losses', ARGV[2])`;

/** Renews the lock of a running job, also one that ran out, as long as nobody else has taken the job. */
const HOLD_SCRIPT = `
local token = redis.call('GET', KEYS[1])
if token and token ~= ARGV[1] then return 0 end
if not token and not redis.call('LPOS', KEYS[2], ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('SREM', KEYS[3], ARGV[2])
return 1`;

/** Longest stack that is kept, in characters. */
const STACK_LENGTH = 4000;

const trailLine = (what: 'b' | 'e', text: string) =>
  `${what} ${Date.now()} ${text.replaceAll('\n', ' ').slice(0, 300)}`;

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
  /** An attempt begins: whether its task has been cancelled, and under how many attempts something has died. */
  begin(taskId: string): Promise<{ revoked: boolean; losses: number }>;
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
 * task.
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
    const line = trailLine('e', keyring.current === undefined ? how : codeOnly(how));
    const left = await redis.eval(
      LEAVE_SCRIPT,
      1,
      KEYS.job(queue, taskId),
      worker.id,
      word,
      line,
      sealStack(keyring, stack.slice(0, STACK_LENGTH), taskId),
    );
    return Number(left);
  }
  return {
    async begin(taskId) {
      const keys = [KEYS.job(queue, taskId), KEYS.revoked(taskId)];
      const reply = (await redis.eval(
        BEGIN_SCRIPT,
        keys.length,
        ...keys,
        worker.id,
        KEYS.alive(''),
        trailLine('b', worker.name),
      )) as number[];
      return { revoked: reply[0] === 1, losses: reply[1] ?? 0 };
    },
    async leave(taskId, end) {
      await leave(taskId, '0', end);
    },
    async uncount(taskId) {
      await redis.hincrby(KEYS.job(queue, taskId), 'ats', -1);
    },
    lose: (taskId, end) => leave(taskId, '1', end),
    async end(taskId, end) {
      await leave(taskId, 'ended', end);
    },
    async hold(taskId, token) {
      const keys = [KEYS.lock(queue, taskId), KEYS.active(queue), KEYS.stalled(queue)];
      return (await redis.eval(HOLD_SCRIPT, keys.length, ...keys, token, taskId, LOCK_DURATION_MS)) === 1;
    },
  };
}
