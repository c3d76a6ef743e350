import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { collectHistory } from './history.ts';
import { KEYS } from './keys.ts';

/** Upper bounds in seconds of the histograms that workers keep. */
export const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800] as const;

export const HISTOGRAMS = ['wait', 'run', 'decode', 'inference', 'postprocess'] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];

export const COUNTERS = ['succeeded', 'failed', 'revoked', 'retried', 'timeouts', 'lanes_lost', 'stalled'] as const;
export type CounterName = (typeof COUNTERS)[number];

export type HistogramTotals = { buckets: number[]; sum: number; count: number };
export type Statistics = { histograms: Record<HistogramName, HistogramTotals>; counters: Record<CounterName, number> };

export type StatisticsRecorder = {
  observe(histogram: HistogramName, seconds: number): void;
  count(counter: CounterName): void;
  /** Adds what has come together to the queue's totals in Redis; kept for the next time where that fails. */
  flush(): Promise<void>;
};

/** Totals live in one hash per queue: they go on counting when workers come and go. */
export function recordStatistics(redis: Redis, queue: QueueName): StatisticsRecorder {
  let pending = new Map<string, number>();
  const history = collectHistory(queue);
  const add = (field: string, amount: number) => pending.set(field, (pending.get(field) ?? 0) + amount);
  return {
    observe(histogram, seconds) {
      const bucket = BUCKETS_SECONDS.findIndex((bound) => seconds <= bound);
      add(`${histogram}:${bucket === -1 ? BUCKETS_SECONDS.length : bucket}`, 1);
      add(`${histogram}:sum`, seconds);
      history.observe(histogram, seconds);
    },
    count(counter) {
      add(counter, 1);
      history.count(counter);
    },
    async flush() {
      if (pending.size === 0) return;
      const batch = pending;
      pending = new Map();
      const transaction = redis.multi();
      history.write(transaction);
      for (const [field, amount] of batch) {
        if (!field.endsWith(':sum')) transaction.hincrby(KEYS.statistics(queue), field, amount);
        else transaction.hincrbyfloat(KEYS.statistics(queue), field, amount);
      }
      try {
        await transaction.exec();
        history.written();
      } catch (error) {
        for (const [field, amount] of batch) add(field, amount);
        throw error;
      }
    },
  };
}

export async function readStatistics(redis: Redis, queue: QueueName): Promise<Statistics> {
  const fields = await redis.hgetall(KEYS.statistics(queue));
  const number = (field: string) => Number(fields[field] ?? 0);
  const histogram = (name: HistogramName): HistogramTotals => {
    const buckets = [...BUCKETS_SECONDS, Number.POSITIVE_INFINITY].map((_, index) => number(`${name}:${index}`));
    return { buckets, sum: number(`${name}:sum`), count: buckets.reduce((sum, value) => sum + value, 0) };
  };
  return {
    histograms: Object.fromEntries(HISTOGRAMS.map((name) => [name, histogram(name)])) as Statistics['histograms'],
    counters: Object.fromEntries(COUNTERS.map((name) => [name, number(name)])) as Statistics['counters'],
  };
}
