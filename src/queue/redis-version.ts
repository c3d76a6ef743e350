/** The first that knows LPOS, by which BullMQ and we look for a task in a list. */
export const OLDEST_VERSION = '6.0.6';

/** @param version as INFO tells it; Valkey tells that of the Redis it is like */
export function isTooOld(version: string): boolean {
  return version.localeCompare(OLDEST_VERSION, 'en', { numeric: true }) < 0;
}
