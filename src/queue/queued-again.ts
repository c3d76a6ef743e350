import type { BackendFactory, RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

/*
 * The field `queued_at` beside BullMQ's own on the hash of a job: when it was last queued again by hand, in ms. From then
 * on it waits anew; `timestamp` stays the time at which the task was made.
 */
export const QUEUED_AT = 'queued_at';

/** Written before the job moves, so that no worker can take it without. What is gone or moved by others stays as it is. */
const NOTE_SCRIPT = `
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then redis.call('HSET', KEYS[1], '${QUEUED_AT}', ARGV[2]) end`;

/** When a task last began to wait, in ms, from what its job's hash holds. */
export function waitsSince(created: unknown, queuedAt: unknown): number {
  return Math.max(Number(created ?? 0) || 0, Number(queuedAt ?? 0) || 0);
}

/** Takes note of every retry of an ended job, whoever asks for it: our own pages or Bull Board. */
export function noteQueuedAgain(
  redis: Redis,
  queue: QueueName,
  factory: BackendFactory<RedisQueueBackend>,
): BackendFactory<RedisQueueBackend> {
  return (name, options, more) => {
    const backend = factory(name, options, more);
    const retry = backend.retryFinishedJob.bind(backend);
    const overrides: Partial<RedisQueueBackend> = {
      async retryFinishedJob(job, state, retryOptions) {
        const taskId = job.id ?? '';
        const ended = state === 'failed' ? KEYS.failed(queue) : KEYS.completed(queue);
        await redis.eval(NOTE_SCRIPT, 2, KEYS.job(queue, taskId), ended, taskId, Date.now());
        return retry(job, state, retryOptions);
      },
    };
    return Object.assign(backend, overrides);
  };
}
