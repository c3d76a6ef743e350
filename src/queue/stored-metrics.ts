import type { Redis } from 'ioredis';
import { AggregatorRegistry, type MetricObject } from 'prom-client';
import { KIND_NAMES, KINDS, type QueueName } from '../contract/kinds.ts';
import {
  BUCKETS_SECONDS,
  COUNTERS,
  type CounterName,
  HISTOGRAMS,
  type HistogramTotals,
  readStatistics,
  type Series,
  type Statistics,
} from './statistics.ts';

const HISTOGRAM_HELP = {
  wait: 'Seconds from the acceptance of a task to its start',
  run: 'Seconds from the start of a task to its end',
  decode: 'Seconds spent decoding',
  inference: 'Seconds spent in the model',
  postprocess: 'Seconds spent filling inputs and reading outputs',
} as const;

const COUNTER_HELP: Record<CounterName, string> = {
  succeeded: 'Tasks that ended in SUCCESS',
  failed: 'Tasks that ended in FAILURE',
  revoked: 'Tasks that were cancelled',
  retried: 'Attempts that failed and were followed by another one',
  timeouts: 'Tasks that were ended by their time limit',
  lanes_lost: 'Detection processes that died while they worked',
  stalled: 'Tasks taken from workers that had fallen silent',
};

type Value = { metricName: string; labels: Record<string, string>; value: number };

function histogramValues(name: string, queue: string, series: Series & HistogramTotals): Value[] {
  const labels = { queue, media: series.media, model: series.model };
  let cumulative = 0;
  const values = [...BUCKETS_SECONDS.map(String), '+Inf'].map((le, index): Value => {
    cumulative += series.buckets[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: cumulative };
  });
  return [
    ...values,
    { metricName: `${name}_sum`, labels, value: series.sum },
    { metricName: `${name}_count`, labels, value: series.count },
  ];
}

type Totals = { queue: QueueName; statistics: Statistics }[];

/** In the shape in which prom-client takes the metrics of other processes. */
function toMetrics(totals: Totals): MetricObject[] {
  const histograms = HISTOGRAMS.map((histogram) => {
    const name = `recognize_task_${histogram}_seconds`;
    const values = totals.flatMap(({ queue, statistics }) =>
      statistics.histograms[histogram].flatMap((series) => histogramValues(name, queue, series)),
    );
    return { name, help: `${HISTOGRAM_HELP[histogram]}, of tasks that succeeded`, type: 'histogram', values };
  });
  const counter = (name: string, help: string, read: (statistics: Statistics) => number) => ({
    name,
    help,
    type: 'counter',
    values: totals.map(({ queue, statistics }) => ({ labels: { queue }, value: read(statistics) })),
  });
  const counters = COUNTERS.map((name) =>
    counter(`recognize_tasks_${name}_total`, COUNTER_HELP[name], ({ counters }) => counters[name]),
  );
  const ffmpeg = counter(
    'recognize_ffmpeg_seconds_total',
    'CPU seconds that ffmpeg and ffprobe took for videos in workers',
    ({ ffmpegSeconds }) => ffmpegSeconds,
  );
  return [...histograms, ...counters, ffmpeg].map((metric) => ({
    ...metric,
    aggregator: 'sum',
  })) as unknown as MetricObject[];
}

/** Prometheus text of the totals that workers keep in Redis. */
export async function storedMetrics(redis: Redis): Promise<string> {
  const totals = await Promise.all(
    KIND_NAMES.map(async (kind) => {
      const { queue } = KINDS[kind];
      return { queue, statistics: await readStatistics(redis, queue) };
    }),
  );
  return AggregatorRegistry.aggregate([toMetrics(totals)]).metrics();
}
