import type { Redis } from 'ioredis';
import { AggregatorRegistry, Gauge, type MetricObject, Registry } from 'prom-client';
import type { ScalingView } from '../contract/answers.ts';
import { KIND_NAMES, KINDS, type QueueName } from '../contract/kinds.ts';
import { queueDepth } from './depth.ts';
import { liveWorkers } from './heartbeat.ts';
import type { Queues } from './queues.ts';
import {
  BUCKETS_SECONDS,
  COUNTERS,
  HISTOGRAMS,
  type HistogramTotals,
  readStatistics,
  type Statistics,
} from './statistics.ts';

/** What an autoscaler needs to know of every queue. */
export async function readScaling(redis: Redis, queues: Queues): Promise<ScalingView> {
  const depths = await Promise.all(
    KIND_NAMES.map(async (kind) => [KINDS[kind].queue, await queueDepth(redis, queues, kind)] as const),
  );
  return { queues: Object.fromEntries(depths) as ScalingView['queues'] };
}

const HISTOGRAM_HELP = {
  wait: 'Seconds from the acceptance of a task to its start',
  run: 'Seconds from the start of a task to its end',
  decode: 'Seconds spent decoding',
  inference: 'Seconds spent in the model',
  postprocess: 'Seconds spent filling inputs and reading outputs',
} as const;

type Value = { metricName: string; labels: Record<string, string>; value: number };

function histogramValues(name: string, queue: string, { buckets, sum, count }: HistogramTotals): Value[] {
  let cumulative = 0;
  const bounds = [...BUCKETS_SECONDS.map(String), '+Inf'];
  const values = bounds.map((le, index): Value => {
    cumulative += buckets[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { queue, le }, value: cumulative };
  });
  return [
    ...values,
    { metricName: `${name}_sum`, labels: { queue }, value: sum },
    { metricName: `${name}_count`, labels: { queue }, value: count },
  ];
}

type Totals = { queue: QueueName; statistics: Statistics }[];

/** Metrics whose totals are kept in Redis, in the shape in which prom-client takes those of other processes. */
function storedMetrics(totals: Totals): MetricObject[] {
  const histograms = HISTOGRAMS.map((histogram) => {
    const name = `recognize_task_${histogram}_seconds`;
    const values = totals.flatMap(({ queue, statistics }) =>
      histogramValues(name, queue, statistics.histograms[histogram]),
    );
    return { name, help: HISTOGRAM_HELP[histogram], type: 'histogram', aggregator: 'sum', values };
  });
  const counters = COUNTERS.map((counter) => ({
    name: `recognize_tasks_${counter}_total`,
    help: `Tasks or events counted by workers as ${counter.replace('_', ' ')}`,
    type: 'counter',
    aggregator: 'sum',
    values: totals.map(({ queue, statistics }) => ({ labels: { queue }, value: statistics.counters[counter] })),
  }));
  return [...histograms, ...counters] as unknown as MetricObject[];
}

async function liveGauges(redis: Redis, queues: Queues): Promise<Registry> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = ['queue']) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const jobs = gauge('recognize_queue_tasks', 'Tasks in the queue by state', ['queue', 'state']);
  const depth = gauge('recognize_queue_depth', 'Tasks that wait, are due or run');
  const oldest = gauge('recognize_queue_oldest_waiting_seconds', 'Age of the task that has waited longest');
  const online = gauge('recognize_workers_online', 'Workers heard of within the last seconds');
  const slots = gauge('recognize_slots', 'Detection slots of all workers');
  const busy = gauge('recognize_slots_busy', 'Detection slots at work');
  const memory = gauge('recognize_worker_resident_bytes', 'Resident memory of a worker with its detection processes', [
    'queue',
    'worker',
  ]);
  const [{ queues: depths }, workers] = await Promise.all([readScaling(redis, queues), liveWorkers(redis)]);
  for (const kind of KIND_NAMES) {
    const queue = KINDS[kind].queue;
    const { depth: total, oldest_waiting_s, waiting, prioritized, active, delayed_due } = depths[queue];
    for (const [state, value] of Object.entries({ waiting, prioritized, active, delayed_due }))
      jobs.set({ queue, state }, value);
    depth.set({ queue }, total);
    oldest.set({ queue }, oldest_waiting_s);
    const mine = workers.filter((worker) => worker.kind === kind);
    online.set({ queue }, mine.length);
    slots.set(
      { queue },
      mine.filter(({ state }) => state === 'ready').reduce((sum, worker) => sum + worker.concurrency, 0),
    );
    busy.set(
      { queue },
      mine.reduce((sum, worker) => sum + worker.current.length, 0),
    );
    for (const { name, rss, lanes } of mine)
      memory.set(
        { queue, worker: name },
        lanes.reduce((sum, lane) => sum + lane.rss, rss),
      );
  }
  return registry;
}

/** One Prometheus text of several; prom-client writes "Nan" where the format says "NaN". */
export function joinMetrics(parts: readonly string[]): string {
  return parts.map((part) => `${part.trimEnd().replaceAll(/ Nan$/gm, ' NaN')}\n`).join('');
}

/** Prometheus text of queues, workers and tasks; the same on web and dashboard. */
export async function queueMetrics(redis: Redis, queues: Queues): Promise<string> {
  const [gauges, totals] = await Promise.all([
    liveGauges(redis, queues),
    Promise.all(
      KIND_NAMES.map(async (kind) => ({
        queue: KINDS[kind].queue,
        statistics: await readStatistics(redis, KINDS[kind].queue),
      })),
    ),
  ]);
  const stored = AggregatorRegistry.aggregate([storedMetrics(totals)]);
  return joinMetrics([await gauges.metrics(), await stored.metrics()]);
}
