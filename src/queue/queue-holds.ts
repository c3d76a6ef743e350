import type { Redis } from 'ioredis';
import { type ActionOutcome, applied, notApplied } from '../contract/admin.ts';
import { KINDS, type Kind, type QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';
import type { Queues } from './queues.ts';

/** What keeps workers from taking tasks of a queue although they have free slots; set here or in Bull Board. */
export type QueueHolds = {
  paused: boolean;
  /** Tasks that run at a time over all workers. */
  concurrency: number | null;
  rateLimit: { max: number; duration_ms: number } | null;
};

const positive = (text: string | null | undefined) => (Number(text) > 0 ? Number(text) : null);

export async function readHolds(redis: Redis, queue: QueueName): Promise<QueueHolds> {
  const [paused, concurrency, max, duration] = await redis.hmget(
    KEYS.meta(queue),
    'paused',
    'concurrency',
    'max',
    'duration',
  );
  const [most, durationMs] = [positive(max), positive(duration)];
  return {
    paused: paused !== null,
    concurrency: positive(concurrency),
    rateLimit: most === null || durationMs === null ? null : { max: most, duration_ms: durationMs },
  };
}

export type QueueActions = {
  pause(kind: Kind): Promise<ActionOutcome>;
  resume(kind: Kind): Promise<ActionOutcome>;
  /** Takes away global concurrency and global rate limit. */
  liftLimits(kind: Kind): Promise<ActionOutcome>;
};

/** What operators do to whole queues. */
export function createQueueActions(redis: Redis, queues: Queues): QueueActions {
  return {
    async pause(kind) {
      if ((await readHolds(redis, KINDS[kind].queue)).paused) return notApplied('The queue is paused already.');
      await queues[kind].pause();
      return applied('No worker takes tasks of the queue any more; what runs goes on.');
    },
    async resume(kind) {
      if (!(await readHolds(redis, KINDS[kind].queue)).paused) return notApplied('The queue is not paused.');
      await queues[kind].resume();
      return applied('Tasks of the queue are taken again.');
    },
    async liftLimits(kind) {
      const { queue } = KINDS[kind];
      const { concurrency, rateLimit } = await readHolds(redis, queue);
      if (concurrency === null && rateLimit === null)
        return notApplied('The queue has neither a global concurrency nor a rate limit.');
      await Promise.all([
        queues[kind].removeGlobalConcurrency(),
        queues[kind].removeGlobalRateLimit(),
        queues[kind].removeRateLimitKey(),
      ]);
      // BullMQ wakes nobody up for that: idle workers would look again after some seconds only.
      await redis.zadd(KEYS.marker(queue), 0, '0');
      const what = [
        ...(concurrency === null ? [] : [`global concurrency of ${concurrency}`]),
        ...(rateLimit === null ? [] : [`rate limit of ${rateLimit.max} in ${rateLimit.duration_ms} ms`]),
      ];
      return applied(`The ${what.join(' and the ')} is gone; the slots of all workers are used.`);
    },
  };
}
