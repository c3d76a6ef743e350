import { setTimeout as sleep } from 'node:timers/promises';

/*
 * Redis may answer and yet take no writes: its memory or disk is full, it has too few replicas, or it is not the master,
 * or not yet. Trying again at once would keep it and this process busy for nothing.
 */
const REFUSAL = /(^|-)(OOM|MISCONF|NOREPLICAS|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY) /;

/** How long one waits before the next try, in ms. */
export const REFUSED_PAUSE_MS = 1000;

/** Whether an error is Redis' word that it takes no writes at present. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError' && REFUSAL.test(error.message);
}

/** Waits before the next try. @throws the signal's reason as soon as it aborts */
export async function pauseAfterRefusal(signal?: AbortSignal): Promise<void> {
  await sleep(REFUSED_PAUSE_MS, undefined, signal === undefined ? {} : { signal }).catch(() =>
    signal?.throwIfAborted(),
  );
}

/**
 * Does a write, again and again until Redis takes it.
 *
 * @throws the signal's reason when it aborts in between, whatever else the write throws
 */
export async function untilTaken<T>(write: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      await pauseAfterRefusal(signal);
    }
  }
}
