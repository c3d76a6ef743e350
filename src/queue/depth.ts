import type { Redis } from 'ioredis';
import type { QueueDepth } from '../contract/answers.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { firstOfEach, PRIORITIES } from './first-waiting.ts';
import { KEYS } from './keys.ts';
import { QUEUED_AT, waitsSince } from './queued-again.ts';
import type { Queues } from './queues.ts';

/**
 * Age in seconds of the task that has waited longest, 0 when none waits. Jobs of one priority stand in order of
 * arrival, so only the first of each needs to be looked at.
 */
async function oldestWaitingSeconds(redis: Redis, queue: string): Promise<number> {
  const firsts = await firstOfEach(redis, queue, PRIORITIES);
  if (firsts.length === 0) return 0;
  const times = redis.pipeline();
  for (const { taskId } of firsts) times.hmget(KEYS.job(queue, taskId), 'timestamp', QUEUED_AT);
  const since = ((await times.exec()) ?? [])
    .map(([, reply]) => waitsSince(...((reply ?? []) as [unknown, unknown])))
    .filter((time) => time > 0);
  return since.length === 0 ? 0 : Math.max(0, (Date.now() - Math.min(...since)) / 1000);
}

/** How much work a queue holds. */
export async function queueDepth(redis: Redis, queues: Queues, kind: Kind): Promise<QueueDepth> {
  const name = KINDS[kind].queue;
  const [counts, due, oldest] = await Promise.all([
    queues[kind].getJobCounts('waiting', 'prioritized', 'active'),
    // BullMQ's score of a delayed job is its time in ms, shifted by twelve bits of order.
    redis.zcount(KEYS.delayed(name), '-inf', (Date.now() + 1) * 0x1000),
    oldestWaitingSeconds(redis, name),
  ]);
  const { waiting = 0, prioritized = 0, active = 0 } = counts;
  return {
    waiting,
    prioritized,
    active,
    delayed_due: due,
    depth: waiting + prioritized + active + due,
    oldest_waiting_s: Math.round(oldest * 10) / 10,
  };
}
