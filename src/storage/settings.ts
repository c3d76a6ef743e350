import type { Config } from '../config.ts';
import type { StorageSettings } from './storage.ts';

/** What {@link openStorage} needs to know. */
export function storageSettings({ paths, bucket }: Config): StorageSettings {
  return { folder: paths.uploads, temporaryFolder: paths.tmp, bucket };
}

/** Margin over the longest task, in seconds. */
const MARGIN_SECONDS = 3600;

/** A temporary file that nobody has written to for so long belongs to a process that is gone: no task takes longer. */
export function abandonedSeconds({ limits }: Config): number {
  return Math.max(limits.imageSeconds, limits.videoSeconds) + MARGIN_SECONDS;
}
