import { randomBytes } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { open, opendir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Ending of files that are still being written. */
export const PART_ENDING = '.part';

/** The files of a folder; none where it is gone. */
export async function* filesOf(folder: string): AsyncGenerator<Dirent> {
  try {
    for await (const entry of await opendir(folder)) if (entry.isFile()) yield entry;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Removes files being written in a folder that nobody has written to for so long. Returns how many. */
export async function sweepFolder(folder: string, olderThanSeconds: number): Promise<number> {
  let removed = 0;
  for await (const { name } of filesOf(folder)) {
    if (!name.endsWith(PART_ENDING)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || (Date.now() - info.mtimeMs) / 1000 < olderThanSeconds) continue;
    await rm(path, { force: true });
    removed++;
  }
  return removed;
}

/** Writes a file to a folder and removes it again. @throws where that cannot be done */
export async function probeFolder(folder: string): Promise<void> {
  const path = join(folder, `probe-${randomBytes(8).toString('hex')}${PART_ENDING}`);
  const file = await open(path, 'w');
  await file.close();
  await rm(path, { force: true });
}

/** Temporary files on this machine: the only place where plain text lies when storage is encrypted. */
export type Workspace = {
  /**
   * A new path for a file that is still being written.
   *
   * @param taskId whose it is, so that {@link Workspace.discardOf} finds it again
   */
  temporaryPath(taskId?: string): string;
  discard(temporaryPath: string): Promise<void>;
  /** Removes every temporary file of a task, also those of an attempt that was killed. */
  discardOf(taskId: string): Promise<void>;
  checkWritable(): Promise<void>;
  sweep(olderThanSeconds: number): Promise<number>;
};

/** @param folder an existing one, best on the same volume as the stored files */
export function openWorkspace(folder: string): Workspace {
  return {
    temporaryPath: (taskId = 'upload') => join(folder, `${taskId}-${randomBytes(16).toString('hex')}${PART_ENDING}`),
    discard: (temporaryPath) => rm(temporaryPath, { force: true }),
    async discardOf(taskId) {
      for await (const { name } of filesOf(folder)) {
        if (name.startsWith(`${taskId}-`)) await rm(join(folder, name), { force: true });
      }
    },
    checkWritable: () => probeFolder(folder),
    sweep: (olderThanSeconds) => sweepFolder(folder, olderThanSeconds),
  };
}
