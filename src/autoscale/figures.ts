import type { Redis } from 'ioredis';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { queueDepth } from '../queue/depth.ts';
import { liveWorkers } from '../queue/heartbeat.ts';
import { readHolds } from '../queue/queue-holds.ts';
import type { Queues } from '../queue/queues.ts';
import { readStatistics } from '../queue/statistics.ts';
import type { Figures } from './policy.ts';

/** Figures are averaged over so long, in ms. */
const WINDOW_MS = 60_000;

type Sample = { at: number; waitSum: number; waitCount: number; slots: number; cpu: number | undefined };

/** The mean of the waits of tasks that ended between two samples; 0 where none did. */
function meanWait(from: Sample, to: Sample): number {
  const count = to.waitCount - from.waitCount;
  return count > 0 ? Math.max(0, to.waitSum - from.waitSum) / count : 0;
}

/**
 * Reads what rules ask for. The average wait is the mean of the tasks that succeeded within the last minute, or, where
 * that is more, half the age of the task that has waited longest: the mean age in a queue that fills evenly, which also
 * shows when nothing gets through at all. CPU is that of the last minute.
 */
export function createFigureReader(redis: Redis, queues: Queues): (kind: Kind) => Promise<Figures> {
  const samples = new Map<Kind, Sample[]>();

  async function sample(kind: Kind): Promise<Sample> {
    const [{ histograms }, workers] = await Promise.all([readStatistics(redis, KINDS[kind].queue), liveWorkers(redis)]);
    const mine = workers.filter((worker) => worker.kind === kind && worker.state === 'ready');
    const slots = mine.reduce((sum, { concurrency }) => sum + concurrency, 0);
    return {
      at: Date.now(),
      waitSum: histograms.wait.reduce((total, { sum }) => total + sum, 0),
      waitCount: histograms.wait.reduce((total, { count }) => total + count, 0),
      slots,
      cpu: slots === 0 ? undefined : mine.reduce((sum, { cpu_percent }) => sum + cpu_percent, 0) / slots,
    };
  }

  return async (kind) => {
    const [depth, latest, { concurrency, paused }] = await Promise.all([
      queueDepth(redis, queues, kind),
      sample(kind),
      readHolds(redis, KINDS[kind].queue),
    ]);
    const kept = [...(samples.get(kind) ?? []), latest].filter(({ at }) => at >= latest.at - WINDOW_MS);
    samples.set(kind, kept);
    const loads = kept.flatMap(({ cpu }) => cpu ?? []);
    return {
      length: depth.waiting + depth.prioritized + depth.delayed_due,
      wait_s: Math.max(meanWait(kept[0] ?? latest, latest), depth.oldest_waiting_s / 2),
      cpu_percent: loads.length === 0 ? undefined : loads.reduce((sum, load) => sum + load, 0) / loads.length,
      paused,
      ...(concurrency === null ? {} : { limit: { concurrency, slots: latest.slots } }),
    };
  };
}
