const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const HEALTHY_MS = 60_000;

/** Delays before restarts: 0.5 s, doubling up to 30 s; from the start again after a life of a minute. */
export function createBackoff(): { nextDelayMs(livedMs: number): number } {
  let delay = FIRST_MS;
  return {
    nextDelayMs(livedMs) {
      if (livedMs >= HEALTHY_MS) delay = FIRST_MS;
      const current = delay;
      delay = Math.min(delay * 2, LONGEST_MS);
      return current;
    },
  };
}
