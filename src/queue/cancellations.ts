import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import { CHANNELS, KEYS } from './keys.ts';

/** Calls back with the id of each task that somebody cancels, after an outage as well. */
export async function listenForCancellations(
  subscriber: Redis,
  log: Logger,
  onCancel: (taskId: string) => void,
): Promise<void> {
  subscriber.on('message', (channel: string, taskId: string) => {
    if (channel === CHANNELS.cancel) onCancel(taskId);
  });
  await subscriber.subscribe(CHANNELS.cancel);
  log.debug('listening for cancellations');
}

/** Which of these tasks have been cancelled; covers announcements that were lost while Redis was away. */
export async function whichAreRevoked(redis: Redis, taskIds: string[]): Promise<string[]> {
  if (taskIds.length === 0) return [];
  const records = await redis.mget(taskIds.map((taskId) => KEYS.revoked(taskId)));
  return taskIds.filter((_, index) => records[index] !== null);
}

export async function announceEnd(redis: Redis, taskId: string): Promise<void> {
  await redis.publish(CHANNELS.ended, taskId);
}
