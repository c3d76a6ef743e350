import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

/**
 * Entries that BullMQ's stream of events keeps, about; its default is 10,000. Nobody here reads it, and it has whole
 * results in it: they would outlive RESULT_TTL there and take a lot of memory.
 */
export const MOST_EVENTS = 0;

/** Sees to it that the stream of a queue stays short, whoever has set it to something else, and that it is so now. */
export async function keepEventsShort(redis: Redis, queue: QueueName): Promise<void> {
  await redis
    .pipeline()
    .hset(KEYS.meta(queue), 'opts.maxLenEvents', MOST_EVENTS)
    .xtrim(KEYS.events(queue), 'MAXLEN', MOST_EVENTS)
    .exec();
}
