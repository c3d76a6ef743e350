import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';
import { LOCK_DURATION_MS } from './queues.ts';

/**
 * Renews the lock of a running job, also one that ran out, as long as nobody else has taken the job. Its first write
 * takes no memory: a script that has begun to write goes on where Redis has none left.
 */
const HOLD_SCRIPT = `
local token = redis.call('GET', KEYS[1])
if token and token ~= ARGV[1] then return 0 end
if not token and not redis.call('LPOS', KEYS[2], ARGV[2]) then return 0 end
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1`;

/** Makes sure of a job's lock; false where another worker has taken the job. */
export async function holdLock(redis: Redis, queue: QueueName, taskId: string, token: string): Promise<boolean> {
  const keys = [KEYS.lock(queue, taskId), KEYS.active(queue), KEYS.stalled(queue)];
  return (await redis.eval(HOLD_SCRIPT, keys.length, ...keys, token, taskId, LOCK_DURATION_MS)) === 1;
}
