import { createReadStream } from 'node:fs';
import { copyFile, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../errors.ts';
import type { ObjectStore } from './object-store.ts';
import { filesOf, PART_ENDING, probeFolder, sweepFolder } from './workspace.ts';

/** Bytes that are read from the disk at a time to be sent. */
const READ_BYTES = 256 * 1024;

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Objects as files of a local folder, which is there already. */
export function openFolderStore(folder: string): ObjectStore {
  const pathOf = (key: string) => join(folder, key);

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

  async function writeTo(path: string, content: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    const file = await open(path, 'w', 0o600);
    try {
      for await (const chunk of content) {
        signal?.throwIfAborted();
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
  }

  return {
    localPath: pathOf,
    listEverySeconds: 0,
    async adopt(path, key) {
      try {
        await move(path, pathOf(key));
      } catch (error) {
        throw new StorageError('the file could not be stored', { cause: error });
      }
    },
    async write(key, content, _bytes, signal) {
      const beside = `${pathOf(key)}${PART_ENDING}`;
      try {
        await writeTo(beside, content, signal);
        await rename(beside, pathOf(key));
      } catch (error) {
        await rm(beside, { force: true });
        signal?.throwIfAborted();
        throw new StorageError('the file could not be stored', { cause: error });
      }
    },
    async info(key) {
      try {
        const { size, mtime } = await stat(pathOf(key));
        return { bytes: size, modifiedAt: mtime };
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw new StorageError('the file cannot be read from storage', { cause: error });
      }
    },
    read: (key, from, to) =>
      from >= to
        ? (async function* () {})()
        : createReadStream(pathOf(key), { start: from, end: to - 1, highWaterMark: READ_BYTES }),
    remove: (key) => rm(pathOf(key), { force: true }),
    keysFrom: async () => undefined,
    async *list() {
      for await (const { name } of filesOf(folder)) {
        const info = await stat(pathOf(name)).catch(() => undefined);
        if (info !== undefined) yield { key: name, modifiedAt: info.mtime };
      }
    },
    checkWritable: () => probeFolder(folder),
    sweepParts: (olderThanSeconds) => sweepFolder(folder, olderThanSeconds),
  };
}
