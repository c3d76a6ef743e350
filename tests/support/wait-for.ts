import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Polls `probe` until it answers anything but undefined, null or false, and returns that.
 *
 * @param what completes the sentence "Waited in vain for ..."
 * @throws Error after `timeoutMs`, with the last error of `probe` as its cause
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T> | T,
  { timeoutMs = 10_000, intervalMs = 50 } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const value = await probe();
      if (value !== undefined && value !== null && value !== false) return value as NonNullable<Exclude<T, false>>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(intervalMs);
  } while (performance.now() < deadline);
  throw new Error(`Waited in vain for ${what} (${timeoutMs} ms).`, { cause });
}
