import { lstatSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isWorkerLog } from './log-files.ts';

const DAY_MS = 86_400_000;

/** Removes workers' logs that nobody has written to for so many days; nothing else in the folder is touched. */
export function removeOldLogs(folder: string, keepDays: number, now: number = Date.now()): void {
  for (const name of readdirSync(folder).filter(isWorkerLog)) {
    const path = join(folder, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isFile() && now - found.mtimeMs > keepDays * DAY_MS) rmSync(path, { force: true });
  }
}

/**
 * Keeps the folder of an open log free of old ones, now and every day: also of those whose worker comes no more, and would
 * never put them aside.
 *
 * @param path of the log that this process writes to
 */
export function keepFreeOfOldLogs(path: string, keepDays: number, onProblem: (error: unknown) => void): void {
  function look(): void {
    try {
      removeOldLogs(dirname(path), keepDays);
    } catch (error) {
      onProblem(error);
    }
  }
  function daily(): void {
    try {
      // A worker that has had nothing to say is there all the same.
      if (isWorkerLog(basename(path))) utimesSync(path, new Date(), new Date());
    } catch {
      // put aside or taken away: it is made anew with the next line
    }
    look();
  }
  look();
  setInterval(daily, DAY_MS).unref();
}
