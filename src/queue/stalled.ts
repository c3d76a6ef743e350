import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import { STALLED_INTERVAL_MS } from './queues.ts';

/** A round that took longer than this had to wait for Redis, or this process or machine has slept. */
const HITCH_MS = 1000;

/**
 * Looks in regular rounds for tasks whose worker has fallen silent and puts them back into their queue. After an
 * outage, and after a start, it lets one round pass: workers that live need it to show themselves.
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

  /** Whether Redis answered at once. */
  async function round(steady: boolean): Promise<boolean> {
    const startedAt = Date.now();
    await redis.ping();
    if (Date.now() - startedAt > HITCH_MS) return false;
    if (steady && !stopped.signal.aborted) for (const taskId of await putBack()) onStalled(taskId);
    return true;
  }

  async function watch(): Promise<void> {
    let steady = false;
    while (!stopped.signal.aborted) {
      steady = await round(steady).catch((error: unknown) => {
        if (!stopped.signal.aborted) log.warn({ err: error }, 'could not look for stalled tasks');
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
