import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';

/** Nobody waits any longer for files to be gone, in ms: object storage may be away. */
const PATIENCE_MS = 1500;

/** Waits for a removal, but not for long. A file that cannot be removed now goes when its time is over. */
export async function removeSoon(removal: Promise<void>, log: Logger): Promise<void> {
  const removed = removal.catch((error: unknown) => log.warn({ err: error }, 'a file could not be removed'));
  await Promise.race([removed, sleep(PATIENCE_MS, undefined, { ref: false })]);
}
