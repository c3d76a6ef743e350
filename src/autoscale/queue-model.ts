import type { Figures } from './policy.ts';
import type { ArrivalsTrace } from './trace.ts';

/** As the figures of a living service. */
const WINDOW_MS = 60_000;

export type QueueModel = { advance(now: number, seconds: number, arrivals: number, workers: number): Figures };

/** A queue that is worked off in the order of arrival, as a flow: what arrives and is served need not be whole tasks. */
export function createQueueModel({ task_s, slots, start_s }: ArrivalsTrace): QueueModel {
  const waiting: { at: number; count: number }[] = [];
  let served: { at: number; count: number; waitSum: number; load: number }[] = [];
  let ready = 0;
  let starting: { at: number; count: number }[] = [];

  function serve(now: number, capacity: number): { count: number; waitSum: number } {
    let left = capacity;
    let waitSum = 0;
    while (left > 0 && waiting[0] !== undefined) {
      const first = waiting[0];
      const count = Math.min(left, first.count);
      waitSum += count * Math.max(0, (now - first.at) / 1000);
      first.count -= count;
      left -= count;
      if (first.count < 1e-9) waiting.shift();
    }
    return { count: capacity - left, waitSum };
  }

  function readyWorkers(now: number, workers: number): number {
    const known = ready + starting.reduce((sum, { count }) => sum + count, 0);
    if (workers > known) starting.push({ at: now + start_s * 1000, count: workers - known });
    else if (workers < known) {
      starting = [];
      ready = Math.min(ready, workers);
      if (workers > ready) starting.push({ at: now, count: workers - ready });
    }
    ready += starting.filter(({ at }) => at <= now).reduce((sum, { count }) => sum + count, 0);
    starting = starting.filter(({ at }) => at > now);
    return ready;
  }

  return {
    advance(now, seconds, arrivals, workers) {
      if (arrivals > 0) waiting.push({ at: now, count: arrivals });
      const capacity = (readyWorkers(now, workers) * slots * seconds) / task_s;
      const done = serve(now, capacity);
      served.push({ at: now, ...done, load: capacity === 0 ? 0 : done.count / capacity });
      served = served.filter(({ at }) => at > now - WINDOW_MS);
      const count = served.reduce((sum, one) => sum + one.count, 0);
      const mean = count === 0 ? 0 : served.reduce((sum, one) => sum + one.waitSum, 0) / count;
      const oldest = waiting[0] === undefined ? 0 : (now - waiting[0].at) / 1000;
      return {
        length: waiting.reduce((sum, one) => sum + one.count, 0),
        wait_s: Math.max(mean, oldest / 2),
        cpu_percent: ready === 0 ? undefined : (100 * served.reduce((sum, { load }) => sum + load, 0)) / served.length,
      };
    },
  };
}
