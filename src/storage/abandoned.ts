import type { Logger } from '../log.ts';
import type { Storage } from './storage.ts';

const LOOK_EVERY_MS = 15 * 60_000;

/**
 * Removes what killed processes have left in this machine's temporary folder, now and from time to time.
 *
 * @param abandonedSeconds age from which a file is nobody's
 */
export function sweepAbandoned(storage: Storage, abandonedSeconds: number, log: Logger): { stop(): void } {
  const sweep = () => {
    storage
      .sweepTemporary(abandonedSeconds)
      .catch((error: unknown) => log.warn({ err: error }, 'temporary files could not be swept'));
  };
  sweep();
  const timer = setInterval(sweep, LOOK_EVERY_MS);
  return { stop: () => clearInterval(timer) };
}
