import { randomBytes } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { access, constants, copyFile, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError, TransientError } from '../errors.ts';
import { parseName } from './names.ts';

export type StoredInfo = { name: string; ageSeconds: number };

/** Where uploads and annotated copies live. A file appears under its name whole or not at all. */
export type Storage = {
  /** Folder to be served from. */
  readonly folder: string;
  /**
   * A new path for a file that is still being written.
   *
   * @param taskId whose it is, so that {@link Storage.discardOf} finds it again
   */
  temporaryPath(taskId?: string): string;
  /** Gives a finished temporary file its name. @throws TransientError */
  commit(temporaryPath: string, name: string): Promise<void>;
  discard(temporaryPath: string): Promise<void>;
  /** Removes every temporary file of a task, also those of an attempt that was killed. */
  discardOf(taskId: string): Promise<void>;
  /** A local path that holds the stored file. */
  localPath(name: string): string;
  has(name: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** @throws where nothing can be written */
  checkWritable(): Promise<void>;
  stored(): AsyncGenerator<StoredInfo>;
  /** Removes temporary files that nobody has written to for so long. Returns how many. */
  sweepTemporary(olderThanSeconds: number): Promise<number>;
};

async function* filesOf(folder: string): AsyncGenerator<Dirent> {
  try {
    for await (const entry of await opendir(folder)) if (entry.isFile()) yield entry;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function ageSeconds(path: string): Promise<number | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info === undefined ? undefined : (Date.now() - info.mtimeMs) / 1000;
}

/** Ending of files that are still being written. */
const PART_ENDING = '.part';

/**
 * Files in a local folder; temporary ones in another, best on the same volume. Makes both where they are missing.
 */
export async function openLocalStorage(folder: string, temporaryFolder: string): Promise<Storage> {
  try {
    // What people send is for this service alone.
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await mkdir(temporaryFolder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(
      `The folder for uploads cannot be made (${code}). Set DATA_DIR, UPLOAD_FOLDER or TMP_DIR to others.`,
    );
  }
  const pathOf = (name: string) => {
    if (parseName(name) === undefined) throw new Error('not the name of a stored file');
    return join(folder, name);
  };

  /** Renaming works within a volume only: a file from another one is copied beside its place first. */
  async function move(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      const beside = `${to}${PART_ENDING}`;
      try {
        await copyFile(from, beside);
        await rename(beside, to);
      } finally {
        await rm(beside, { force: true });
      }
      await rm(from, { force: true });
    }
  }

  return {
    folder,
    temporaryPath: (taskId = 'upload') =>
      join(temporaryFolder, `${taskId}-${randomBytes(16).toString('hex')}${PART_ENDING}`),
    async commit(temporaryPath, name) {
      try {
        await move(temporaryPath, pathOf(name));
      } catch (error) {
        throw new TransientError('the file could not be stored', { cause: error });
      }
    },
    discard: (temporaryPath) => rm(temporaryPath, { force: true }),
    async discardOf(taskId) {
      for await (const { name } of filesOf(temporaryFolder)) {
        if (name.startsWith(`${taskId}-`)) await rm(join(temporaryFolder, name), { force: true });
      }
    },
    localPath: pathOf,
    has: async (name) =>
      access(pathOf(name), constants.R_OK).then(
        () => true,
        () => false,
      ),
    remove: (name) => rm(pathOf(name), { force: true }),
    async checkWritable() {
      const path = join(temporaryFolder, `probe-${randomBytes(8).toString('hex')}${PART_ENDING}`);
      const file = await open(path, 'w');
      await file.close();
      await rm(path, { force: true });
    },
    async *stored() {
      for await (const entry of filesOf(folder)) {
        if (parseName(entry.name) === undefined) continue;
        const age = await ageSeconds(join(folder, entry.name));
        if (age !== undefined) yield { name: entry.name, ageSeconds: age };
      }
    },
    async sweepTemporary(olderThanSeconds) {
      let removed = 0;
      for (const place of new Set([temporaryFolder, folder])) {
        for await (const entry of filesOf(place)) {
          if (!entry.name.endsWith(PART_ENDING)) continue;
          const path = join(place, entry.name);
          const age = await ageSeconds(path);
          if (age === undefined || age < olderThanSeconds) continue;
          await rm(path, { force: true });
          removed++;
        }
      }
      return removed;
    },
  };
}
