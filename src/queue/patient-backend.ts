import type { BackendFactory, RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { holdLock } from './job-lock.ts';
import { isRefusal, pauseAfterRefusal, untilTaken } from './refusals.ts';

/** Rests before it passes a refusal on: BullMQ asks for the next job again at once. */
async function rested<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isRefusal(error)) await pauseAfterRefusal();
    throw error;
  }
}

/**
 * BullMQ's way to Redis for a worker, for times in which Redis takes no writes: looking for work pauses, and what a job
 * has come to is kept until it can be written. BullMQ itself would look without pause and throw finished work away.
 */
export function patientBackend(
  redis: Redis,
  queue: QueueName,
  factory: BackendFactory<RedisQueueBackend>,
): BackendFactory<RedisQueueBackend> {
  /** Nobody renews the lock of a job that is on its way out: it may have run out, and is taken again before the next try. */
  async function keptUntilTaken<T>(taskId: string, token: string | undefined, move: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await move();
      } catch (error) {
        if (!isRefusal(error)) throw error;
      }
      await pauseAfterRefusal();
      if (token !== undefined) await untilTaken(() => holdLock(redis, queue, taskId, token));
    }
  }

  return (name, options, more) => {
    const backend = factory(name, options, more);
    const plain = {
      moveToActive: backend.moveToActive.bind(backend),
      waitForJob: backend.waitForJob.bind(backend),
      extendLocks: backend.extendLocks.bind(backend),
      moveToCompleted: backend.moveToCompleted.bind(backend),
      moveToFailed: backend.moveToFailed.bind(backend),
      moveToDelayed: backend.moveToDelayed.bind(backend),
      retryJob: backend.retryJob.bind(backend),
      moveJobFromActiveToWait: backend.moveJobFromActiveToWait.bind(backend),
    };
    const overrides: Partial<RedisQueueBackend> = {
      moveToActive: (...given) => rested(() => plain.moveToActive(...given)),
      waitForJob: (...given) => rested(() => plain.waitForJob(...given)),
      async extendLocks(jobIds, tokens, duration) {
        try {
          return await plain.extendLocks(jobIds, tokens, duration);
        } catch (error) {
          if (!isRefusal(error)) throw error;
          // Without memory BullMQ's script cannot; ours can.
          const held = await Promise.all(jobIds.map((id, index) => holdLock(redis, queue, id, tokens[index] ?? '')));
          return jobIds.filter((_, index) => !held[index]);
        }
      },
      moveToCompleted: (job, value, remove, token, ...more) =>
        keptUntilTaken(job.id ?? '', token, () => plain.moveToCompleted(job, value, remove, token, ...more)),
      moveToFailed: (job, reason, remove, token, ...more) =>
        keptUntilTaken(job.id ?? '', token, () => plain.moveToFailed(job, reason, remove, token, ...more)),
      moveToDelayed: (taskId, timestamp, delay, token, ...more) =>
        keptUntilTaken(taskId, token, () => plain.moveToDelayed(taskId, timestamp, delay, token, ...more)),
      retryJob: (taskId, lifo, token, ...more) =>
        keptUntilTaken(taskId, token, () => plain.retryJob(taskId, lifo, token, ...more)),
      moveJobFromActiveToWait: (taskId, token) =>
        keptUntilTaken(taskId, token, () => plain.moveJobFromActiveToWait(taskId, token)),
    };
    return Object.assign(backend, overrides);
  };
}
