import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import { CHANNELS, KEYS } from './keys.ts';

/** How often running tasks are compared with the records of cancelled ones, in case an announcement was lost. */
const LOOK_MS = 500;

/** Which of these tasks have been cancelled. */
async function whichAreRevoked(redis: Redis, taskIds: string[]): Promise<string[]> {
  const records = await redis.mget(taskIds.map((taskId) => KEYS.revoked(taskId)));
  return taskIds.filter((_, index) => records[index] !== null);
}

/**
 * Calls back with the id of each running task that somebody cancels: at once where the announcement arrives, else
 * within half a second.
 *
 * @param running the tasks that are looked after
 */
export async function watchCancellations(
  redis: Redis,
  subscriber: Redis,
  running: () => string[],
  onCancel: (taskId: string) => void,
  log: Logger,
): Promise<{ stop(): void }> {
  let looking = false;

  async function look(): Promise<void> {
    const taskIds = running();
    if (looking || taskIds.length === 0 || redis.status !== 'ready') return;
    looking = true;
    try {
      for (const taskId of await whichAreRevoked(redis, taskIds)) onCancel(taskId);
    } catch (error) {
      log.warn({ err: error }, 'could not look for cancelled tasks');
    } finally {
      looking = false;
    }
  }

  subscriber.on('message', (channel: string, taskId: string) => {
    if (channel === CHANNELS.cancel) onCancel(taskId);
  });
  await subscriber.subscribe(CHANNELS.cancel);
  const timer = setInterval(() => void look(), LOOK_MS);
  return { stop: () => clearInterval(timer) };
}

/** Tells every web process that a task has just ended. */
export async function announceEnd(redis: Redis, taskId: string): Promise<void> {
  await redis.publish(CHANNELS.ended, taskId);
}
