import type { RunningProgress } from '../contract/running-progress.ts';

/** How often a running video says how far it is, in ms. */
const REPORT_EVERY_MS = 400;

/**
 * Tells how far a video is, a few times a second at most.
 *
 * @param total frames to go through, 0 where nobody knows
 */
export function createProgress(total: number, report: (progress: RunningProgress) => void) {
  const startedAt = performance.now();
  let reportedAt = Number.NEGATIVE_INFINITY;
  let furthest = 0;

  return {
    /** @param frames gone through so far; decoding runs ahead of detection, and what was said is not taken back */
    at(frames: number): void {
      furthest = Math.max(furthest, frames);
      const done = furthest;
      const now = performance.now();
      if (now - reportedAt < REPORT_EVERY_MS) return;
      reportedAt = now;
      const part = total > 0 ? Math.min(1, done / total) : 0;
      const elapsed = (now - startedAt) / 1000;
      report({
        percent: Math.round(part * 1000) / 10,
        done: total > 0 ? Math.min(done, total) : done,
        total: Math.max(total, done),
        fps: Math.round((10 * done) / Math.max(0.001, elapsed)) / 10,
        ...(part > 0.01 ? { etaSeconds: Math.round((elapsed / part - elapsed) * 10) / 10 } : {}),
      });
    },
  };
}
