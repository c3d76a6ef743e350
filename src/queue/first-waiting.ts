import type { Redis } from 'ioredis';
import { KEYS } from './keys.ts';

/** BullMQ's score of a prioritized job is its priority times this, plus a counter. */
export const PRIORITY_STEP = 0x100000000;

/** BullMQ takes the lowest number first. */
export const MOST_URGENT = 1;

/** {@link queuePriority} gives pictures odd and videos even numbers, 1 to 20. */
export const PRIORITIES: readonly number[] = Array.from({ length: 20 }, (_, index) => index + 1);
export const PICTURE_PRIORITIES: readonly number[] = PRIORITIES.filter((priority) => priority % 2 === 1);

/** The ids that stand first among the waiting tasks of each of these priorities, the most urgent first. */
export async function firstOfEach(
  redis: Redis,
  queue: string,
  priorities: readonly number[],
): Promise<{ taskId: string; priority: number }[]> {
  const heads = redis.pipeline();
  for (const priority of priorities) {
    const range = [priority * PRIORITY_STEP, `(${(priority + 1) * PRIORITY_STEP}`] as const;
    heads.zrangebyscore(KEYS.prioritized(queue), range[0], range[1], 'LIMIT', 0, 1);
  }
  const replies = (await heads.exec()) ?? [];
  return replies.flatMap(([, reply], index) => {
    const taskId = (reply as string[] | undefined)?.[0];
    const priority = priorities[index];
    return taskId === undefined || priority === undefined ? [] : [{ taskId, priority }];
  });
}

/** The task that is taken next among those of the given priorities. */
export async function firstWaiting(
  redis: Redis,
  queue: string,
  priorities: readonly number[] = PRIORITIES,
): Promise<{ taskId: string; isPicture: boolean } | undefined> {
  const [first] = await firstOfEach(redis, queue, priorities);
  return first === undefined ? undefined : { taskId: first.taskId, isPicture: first.priority % 2 === 1 };
}
