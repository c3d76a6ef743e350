import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';
import { LOCK_DURATION_MS } from './queues.ts';

/*
 * Two fields beside BullMQ's own on the hash of a job, gone with the job:
 *   runner  the worker process that has begun an attempt and not yet said how it went
 *   losses  how often a detection process or a worker has died under the task
 * BullMQ's count of stalled jobs will not do for this: a lock also runs out while Redis is away.
 */

/** Takes note of a new attempt; an earlier runner that has left no word and lives no more has died under the task. */
const BEGIN_SCRIPT = `
if redis.call('EXISTS', KEYS[1]) == 0 then return {1, 0} end
local losses = tonumber(redis.call('HGET', KEYS[1], 'losses') or '0')
local left = redis.call('HGET', KEYS[1], 'runner')
if left and redis.call('EXISTS', ARGV[2] .. left) == 0 then
  losses = redis.call('HINCRBY', KEYS[1], 'losses', 1)
end
redis.call('HSET', KEYS[1], 'runner', ARGV[1])
return {redis.call('EXISTS', KEYS[2]), losses}`;

const LEAVE_SCRIPT = `
if redis.call('HGET', KEYS[1], 'runner') ~= ARGV[1] then return 0 end
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

export type Attempts = {
  /** An attempt begins: whether its task has been cancelled, and under how many attempts something has died. */
  begin(taskId: string): Promise<{ revoked: boolean; losses: number }>;
  /** The attempt has ended in an orderly way and the task goes on. */
  leave(taskId: string): Promise<void>;
  /** An attempt that is given back before it has begun is as if it had never been started. */
  uncount(taskId: string): Promise<void>;
  /** The detection process has died. Returns the task's losses, this one included. */
  lose(taskId: string): Promise<number>;
  /** The task ends without result; whoever runs it again by hand starts afresh. */
  end(taskId: string): Promise<void>;
  /** Makes sure of the job's lock, e.g. after an outage of Redis; false where another worker has taken the job. */
  hold(taskId: string, token: string): Promise<boolean>;
};

/**
 * Keeps account of attempts, so that a task under which something dies again and again is given up, and only such a
 * task.
 *
 * @param workerId the one under which this process renews its {@link KEYS.alive}
 */
export function trackAttempts(redis: Redis, queue: QueueName, workerId: string): Attempts {
  const leave = async (taskId: string, word: '0' | '1' | 'ended') =>
    Number(await redis.eval(LEAVE_SCRIPT, 1, KEYS.job(queue, taskId), workerId, word));
  return {
    async begin(taskId) {
      const keys = [KEYS.job(queue, taskId), KEYS.revoked(taskId)];
      const reply = (await redis.eval(BEGIN_SCRIPT, keys.length, ...keys, workerId, KEYS.alive(''))) as number[];
      return { revoked: reply[0] === 1, losses: reply[1] ?? 0 };
    },
    async leave(taskId) {
      await leave(taskId, '0');
    },
    async uncount(taskId) {
      await redis.hincrby(KEYS.job(queue, taskId), 'ats', -1);
    },
    lose: (taskId) => leave(taskId, '1'),
    async end(taskId) {
      await leave(taskId, 'ended');
    },
    async hold(taskId, token) {
      const keys = [KEYS.lock(queue, taskId), KEYS.active(queue), KEYS.stalled(queue)];
      return (await redis.eval(HOLD_SCRIPT, keys.length, ...keys, token, taskId, LOCK_DURATION_MS)) === 1;
    },
  };
}
