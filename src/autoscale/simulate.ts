import { StartError } from '../errors.ts';
import { decide } from './decide.ts';
import type { AutoscaleRules, Figures } from './policy.ts';
import { createQueueModel } from './queue-model.ts';
import type { Trace } from './trace.ts';

/** One look at the queue. */
export type Step = Figures & {
  /** In ms since 1970. */
  at: number;
  /** Workers after the decision. */
  workers: number;
  floor: number;
  reason: string | undefined;
};

/**
 * What the rules would have done, look by look.
 *
 * @throws StartError when the rules have none for the trace's kind
 */
export function simulate(rules: AutoscaleRules, trace: Trace): Step[] {
  const policy = rules.workers[trace.kind];
  if (policy === undefined) throw new StartError(`There are no rules for ${trace.kind} workers.`);
  const start = Date.parse(trace.start);
  const end = start + trace.points.length * trace.step_s * 1000;
  const model = 'task_s' in trace ? createQueueModel(trace) : undefined;
  const steps: Step[] = [];
  let workers = trace.workers ?? 0;
  // What is there at the start has not been changed by anybody.
  let changedAt: number | undefined;

  for (let at = start; at < end; at += rules.every_s * 1000) {
    const point = trace.points[Math.floor((at - start) / (trace.step_s * 1000))];
    if (point === undefined) break;
    const figures: Figures =
      'length' in point
        ? { ...point, cpu_percent: point.cpu_percent }
        : (model?.advance(at, rules.every_s, (point.arrivals_per_min * rules.every_s) / 60, workers) ?? {
            length: 0,
            wait_s: 0,
            cpu_percent: undefined,
          });
    const decision = decide(policy, rules.timezone, workers, figures, changedAt, at);
    if (decision.workers !== workers && at > start) changedAt = at;
    workers = decision.workers;
    steps.push({ at, ...figures, workers, floor: decision.floor, reason: decision.reason });
  }
  return steps;
}
