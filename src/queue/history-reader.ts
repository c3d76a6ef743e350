import type { Redis } from 'ioredis';
import { QUEUE_NAMES, type QueueName } from '../contract/kinds.ts';
import { type MinuteFields, readMinutes, type Totals, totalsOf } from './history.ts';

export const DAY_MINUTES = 24 * 60;

/** Workers write what they counted within seconds: older minutes do not change any more. */
const OPEN_MINUTES = 2;

/** Minutes read from Redis in one go. */
const STEP = 240;

export type HistoryReader = {
  /** What the last so many minutes come to, this one included. */
  totals(queue: QueueName, minutes: number): Promise<Totals>;
  /** The last day in steps of so many minutes, the oldest first; `at` is the step's start in ms. */
  points(queue: QueueName, stepMinutes: number): Promise<(Totals & { at: number })[]>;
};

/** Reads the history of queues; minutes that are over are read from Redis once. */
export function createHistoryReader(redis: Redis): HistoryReader {
  const kept = Object.fromEntries(QUEUE_NAMES.map((queue) => [queue, new Map()])) as Record<
    QueueName,
    Map<number, MinuteFields>
  >;

  async function read(queue: QueueName, from: number, to: number): Promise<MinuteFields[]> {
    const known = kept[queue];
    for (const minute of known.keys()) if (minute < to - DAY_MINUTES) known.delete(minute);
    let next = from;
    while (next <= to) {
      if (known.has(next) && next <= to - OPEN_MINUTES) {
        next++;
        continue;
      }
      const last = Math.min(to, next + STEP - 1);
      const fields = await readMinutes(redis, queue, next, last);
      for (const [index, minute] of fields.entries()) known.set(next + index, minute);
      next = last + 1;
    }
    return Array.from({ length: to - from + 1 }, (_, index) => known.get(from + index) ?? {});
  }

  const now = () => Math.floor(Date.now() / 60_000);
  return {
    async totals(queue, minutes) {
      const last = now();
      return totalsOf(await read(queue, last - minutes + 1, last));
    },
    async points(queue, stepMinutes) {
      const last = now();
      const first = Math.floor((last - DAY_MINUTES) / stepMinutes + 1) * stepMinutes;
      const minutes = await read(queue, first, last);
      const steps = Math.ceil(minutes.length / stepMinutes);
      return Array.from({ length: steps }, (_, index) => ({
        at: (first + index * stepMinutes) * 60_000,
        ...totalsOf(minutes.slice(index * stepMinutes, (index + 1) * stepMinutes)),
      }));
    },
  };
}
