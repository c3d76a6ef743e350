import type { Redis } from 'ioredis';
import { MEDIA, type Media, type QueueName } from '../contract/kinds.ts';
import { collectHistory } from './history.ts';
import { KEYS } from './keys.ts';

/** Upper bounds in seconds of the histograms that workers keep. */
export const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800] as const;

export const HISTOGRAMS = ['wait', 'run', 'decode', 'inference', 'postprocess'] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];

export const COUNTERS = ['succeeded', 'failed', 'revoked', 'retried', 'timeouts', 'lanes_lost', 'stalled'] as const;
export type CounterName = (typeof COUNTERS)[number];

export type HistogramTotals = { buckets: number[]; sum: number; count: number };
/** What a time is told apart by. */
export type Series = { media: Media; model: string };
export type Statistics = {
  histograms: Record<HistogramName, (Series & HistogramTotals)[]>;
  counters: Record<CounterName, number>;
  /** CPU seconds of ffmpeg and ffprobe. */
  ffmpegSeconds: number;
};

export type StatisticsRecorder = {
  observe(histogram: HistogramName, series: Series, seconds: number): void;
  count(counter: CounterName): void;
  /** Times of a task that failed: of the history only, the histograms are of tasks that succeeded. */
  observeFailure(waitSeconds: number, runSeconds: number): void;
  addFfmpegSeconds(seconds: number): void;
  /** Adds what has come together to the queue's totals in Redis; kept for the next time where that fails. */
  flush(): Promise<void>;
};

const FFMPEG_FIELD = 'ffmpeg:sum';

/** Totals live in one hash per queue: they go on counting when workers come and go. */
export function recordStatistics(redis: Redis, queue: QueueName): StatisticsRecorder {
  let pending = new Map<string, number>();
  const history = collectHistory(queue);
  const add = (field: string, amount: number) => pending.set(field, (pending.get(field) ?? 0) + amount);
  return {
    observe(histogram, { media, model }, seconds) {
      const bucket = BUCKETS_SECONDS.findIndex((bound) => seconds <= bound);
      const field = `${histogram}:${media}:${model}`;
      add(`${field}:${bucket === -1 ? BUCKETS_SECONDS.length : bucket}`, 1);
      add(`${field}:sum`, seconds);
      history.observe(histogram, seconds);
    },
    count(counter) {
      add(counter, 1);
      history.count(counter);
    },
    observeFailure(waitSeconds, runSeconds) {
      history.observe('wait', waitSeconds);
      history.observe('run', runSeconds);
    },
    addFfmpegSeconds(seconds) {
      if (seconds > 0) add(FFMPEG_FIELD, seconds);
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

/** Counts a task that was cancelled before any worker had it; what workers stop they count themselves. */
export async function countRevoked(redis: Redis, queue: QueueName): Promise<void> {
  const statistics = recordStatistics(redis, queue);
  statistics.count('revoked');
  await statistics.flush();
}

/** The series whose sum a field of the hash holds; none where it holds something else. */
function seriesOf(field: string, histogram: HistogramName): Series[] {
  const [, name, media, model = ''] = /^(\w+):(\w+):(.+):sum$/.exec(field) ?? [];
  const known = MEDIA.find((one) => one === media);
  return name === histogram && known !== undefined ? [{ media: known, model }] : [];
}

/** What all workers of a queue have counted since Redis has known them. */
export async function readStatistics(redis: Redis, queue: QueueName): Promise<Statistics> {
  const fields = await redis.hgetall(KEYS.statistics(queue));
  const number = (field: string) => Number(fields[field] ?? 0);
  const histogram = (name: HistogramName, { media, model }: Series): Series & HistogramTotals => {
    const field = `${name}:${media}:${model}`;
    const buckets = [...BUCKETS_SECONDS, Number.POSITIVE_INFINITY].map((_, index) => number(`${field}:${index}`));
    return { media, model, buckets, sum: number(`${field}:sum`), count: buckets.reduce((sum, n) => sum + n, 0) };
  };
  const histograms = HISTOGRAMS.map((name) => {
    const series = Object.keys(fields).flatMap((field) => seriesOf(field, name));
    return [name, series.map((one) => histogram(name, one))] as const;
  });
  return {
    histograms: Object.fromEntries(histograms) as Statistics['histograms'],
    counters: Object.fromEntries(COUNTERS.map((name) => [name, number(name)])) as Statistics['counters'],
    ffmpegSeconds: number(FFMPEG_FIELD),
  };
}
