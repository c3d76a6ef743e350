import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { seldom } from '../log-seldom.ts';
import { KEYS } from './keys.ts';
import { STALLED_INTERVAL_MS } from './queues.ts';

/** A round that took longer than this had to wait for Redis, or this process or machine has slept. */
const HITCH_MS = 1000;

/**
 * Puts tasks whose worker has fallen silent back into their queue, each first among those of its own priority. BullMQ
 * itself puts them into a list before all priorities, where nobody looks who asks what waits. Returns their ids.
 */
export async function putBackStalled(redis: Redis, queue: QueueName, backend: RedisQueueBackend): Promise<string[]> {
  const taskIds = await backend.moveStalledJobsToWait();
  for (const taskId of taskIds) {
    const priority = Number(await redis.hget(KEYS.job(queue, taskId), 'priority'));
    // One that a worker has taken in between stays where it is.
    if (priority > 0) await backend.changePriority(taskId, priority, true);
  }
  return taskIds;
}

/**
 * Looks in regular rounds for tasks whose worker has fallen silent and puts them back into their queue. After a time
 * without Redis, or one in which it took no writes, and after a start, it lets one round pass: workers that live need it to show themselves.
 *
 * @param putBack moves such tasks and returns their ids
 */
export function watchForStalled(
  redis: Redis,
  putBack: () => Promise<string[]>,
  onStalled: (taskId: string) => void,
  log: Logger,
): { stop(): void } {
  const stopped = new AbortController();
  const mayTell = seldom();

  /** Whether Redis took a write at once. */
  async function round(steady: boolean): Promise<boolean> {
    const startedAt = Date.now();
    // A write, if an empty one: where Redis takes none, workers that live cannot renew their locks.
    await redis.del(KEYS.writeProbe());
    if (Date.now() - startedAt > HITCH_MS) return false;
    if (steady && !stopped.signal.aborted) for (const taskId of await putBack()) onStalled(taskId);
    return true;
  }

  async function watch(): Promise<void> {
    let steady = false;
    while (!stopped.signal.aborted) {
      steady = await round(steady).catch((error: unknown) => {
        if (!stopped.signal.aborted && mayTell(String(error)))
          log.warn({ err: error }, 'could not look for stalled tasks');
        return false;
      });
      const pausedAt = Date.now();
      await sleep(STALLED_INTERVAL_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
      steady &&= Date.now() - pausedAt < STALLED_INTERVAL_MS + HITCH_MS;
    }
  }

  void watch();
  return { stop: () => stopped.abort() };
}
