import type { Redis } from 'ioredis';
import type { QueueDepth } from '../contract/answers.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';
import type { Queues } from './queues.ts';

const PRIORITY_STEP = 0x100000000;
const HIGHEST_PRIORITY = 20;

/**
 * Age in seconds of the task that has waited longest, 0 when none waits. Jobs of one priority stand in order of
 * arrival, so only the first of each of the twenty priorities needs to be looked at.
 */
async function oldestWaitingSeconds(redis: Redis, queue: string): Promise<number> {
  const heads = redis.pipeline();
  for (let priority = 1; priority <= HIGHEST_PRIORITY; priority++) {
    heads.zrangebyscore(
      KEYS.prioritized(queue),
      priority * PRIORITY_STEP,
      `(${(priority + 1) * PRIORITY_STEP}`,
      'LIMIT',
      0,
      1,
    );
  }
  const ids = ((await heads.exec()) ?? []).flatMap(([, reply]) => reply as string[]);
  if (ids.length === 0) return 0;
  const times = redis.pipeline();
  for (const id of ids) times.hget(KEYS.job(queue, id), 'timestamp');
  const created = ((await times.exec()) ?? []).map(([, reply]) => Number(reply)).filter((time) => time > 0);
  return created.length === 0 ? 0 : Math.max(0, (Date.now() - Math.min(...created)) / 1000);
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
