import type { Figures, Policy, Rule } from './policy.ts';
import { FIGURES } from './policy.ts';
import { scheduledMinimum } from './schedule.ts';

export type Decision = {
  workers: number;
  /** The least that the schedule and `min` allow at this moment. */
  floor: number;
  /** Why the number changes; undefined where it stays. */
  reason: string | undefined;
  /** Why workers that a rule asks for are not added. */
  held?: string;
};

function holds({ if: conditions }: Rule, figures: Figures): boolean {
  return FIGURES.every((name) => {
    const bounds = conditions[name];
    if (bounds === undefined) return true;
    const value = figures[name];
    if (value === undefined) return false;
    return (bounds.above === undefined || value > bounds.above) && (bounds.below === undefined || value < bounds.below);
  });
}

function describe({ if: conditions }: Rule, figures: Figures): string {
  return FIGURES.filter((name) => conditions[name] !== undefined)
    .map((name) => `${name} ${Math.round(figures[name] ?? 0)}`)
    .join(', ');
}

/**
 * How many workers there are to be. Minimums, of schedules too, and the maximum hold at once; rules add and remove within
 * them, one at a time, the first that holds, and not before the cool-down since the last change is over. No rule adds
 * workers whose slots a pause of the queue, or its global concurrency, would leave idle.
 *
 * @param workers there are now, or are being started
 * @param changedAt when their number last changed, in ms; undefined for never
 * @param now in ms since 1970
 */
export function decide(
  policy: Policy,
  timezone: string,
  workers: number,
  figures: Figures,
  changedAt: number | undefined,
  now: number,
): Decision {
  const { min, max, cooldown, rules, schedules } = policy;
  const floor = Math.max(min, scheduledMinimum(schedules, timezone, now));
  if (workers < floor) return { workers: floor, floor, reason: `at least ${floor} at this time` };
  if (workers > max) return { workers: max, floor, reason: `at most ${max}` };
  const rule = rules.find((one) => holds(one, figures));
  if (rule === undefined) return { workers, floor, reason: undefined };
  const { limit, paused } = figures;
  if (rule.add > 0 && paused) return { workers, floor, reason: undefined, held: 'the queue is paused' };
  if (rule.add > 0 && limit !== undefined && limit.slots >= limit.concurrency) {
    const held = `the queue's global concurrency of ${limit.concurrency} is the limit: ${limit.slots} slots are online`;
    return { workers, floor, reason: undefined, held };
  }
  const wanted = Math.min(max, Math.max(floor, workers + rule.add));
  const pauseMs = 1000 * (rule.add > 0 ? cooldown.up_s : cooldown.down_s);
  const cooling = changedAt !== undefined && now - changedAt < pauseMs;
  if (wanted === workers || cooling) return { workers, floor, reason: undefined };
  return { workers: wanted, floor, reason: describe(rule, figures) };
}
