import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { open, opendir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { identifyMachine, identifyProcess, stillRuns } from '../process-identity.ts';

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

/** On a full disk an empty file can still be made. */
const PROBE = Buffer.alloc(64 * 1024);

/** Writes a small file to a folder and removes it again. @throws where that cannot be done */
export async function probeFolder(folder: string): Promise<void> {
  const path = join(folder, `probe-${randomBytes(8).toString('hex')}${PART_ENDING}`);
  try {
    const file = await open(path, 'w');
    await file.write(PROBE).finally(() => file.close());
  } finally {
    await rm(path, { force: true }).catch(() => undefined);
  }
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
  /** Removes what processes of this machine were receiving that are gone. Returns how many files. */
  discardOrphans(): Promise<number>;
  checkWritable(): Promise<void>;
  sweep(olderThanSeconds: number): Promise<number>;
};

/** Uploads carry the process that receives them: `upload.<machine>.<pid>.<its start>-<random>.part`. */
const UPLOAD = /^upload\.([0-9a-f]{16})\.(\d+)\.(\d*)-/;

/** Another machine or container that shares the folder has another one. */
const machine = createHash('sha256').update(identifyMachine()).digest('hex').slice(0, 16);

const uploadPrefix = ['upload', machine, process.pid, identifyProcess(process.pid) ?? ''].join('.');

/** Whether an upload was being received by a process beside this one that is no more. */
function isOfDeadProcess(name: string): boolean {
  const [, where, pid, started = ''] = UPLOAD.exec(name) ?? [];
  return where === machine && !stillRuns(Number(pid), started);
}

/** @param folder an existing one, best on the same volume as the stored files */
export function openWorkspace(folder: string): Workspace {
  return {
    temporaryPath: (taskId = uploadPrefix) => join(folder, `${taskId}-${randomUUID()}${PART_ENDING}`),
    discard: (temporaryPath) => rm(temporaryPath, { force: true }),
    async discardOf(taskId) {
      for await (const { name } of filesOf(folder)) {
        if (name.startsWith(`${taskId}-`)) await rm(join(folder, name), { force: true });
      }
    },
    async discardOrphans() {
      let removed = 0;
      for await (const { name } of filesOf(folder)) {
        if (!isOfDeadProcess(name)) continue;
        await rm(join(folder, name), { force: true });
        removed++;
      }
      return removed;
    },
    checkWritable: () => probeFolder(folder),
    sweep: (olderThanSeconds) => sweepFolder(folder, olderThanSeconds),
  };
}
