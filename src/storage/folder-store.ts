import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, constants, copyFile, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../errors.ts';
import type { ObjectStore } from './object-store.ts';
import { filesOf, PART_ENDING, probeFolder, sweepFolder } from './workspace.ts';

/** Bytes that are read from the disk at a time to be sent. */
const READ_BYTES = 256 * 1024;

/** A shared folder of a hundred thousand files takes a minute to look through. */
const LIST_EVERY_SECONDS = 300;

/** Bounds what a caller meets to what {@link ObjectStore} promises. */
async function orStorageError<T>(what: string, work: Promise<T>): Promise<T> {
  return work.catch((cause: unknown) => {
    throw cause instanceof StorageError ? cause : new StorageError(what, { cause });
  });
}

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Objects as files of a local folder, which is there already. */
export function openFolderStore(folder: string): ObjectStore {
  const pathOf = (key: string) => join(folder, key);
  /** Two who write the same object at a time do not meet. */
  const besideOf = (path: string) => `${path}.${randomBytes(8).toString('hex')}${PART_ENDING}`;

  /** Renaming works within a volume only: a file from another one is copied beside its place first. */
  async function move(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      const beside = besideOf(to);
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
    const file = await open(path, 'wx', 0o600);
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
    listEverySeconds: LIST_EVERY_SECONDS,
    async adopt(path, key, signal) {
      signal?.throwIfAborted();
      await orStorageError('the file could not be stored', move(path, pathOf(key)));
    },
    async write(key, content, _bytes, signal) {
      const beside = besideOf(pathOf(key));
      try {
        await writeTo(beside, content, signal);
        await rename(beside, pathOf(key));
      } catch (error) {
        await rm(beside, { force: true }).catch(() => undefined);
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
    async *read(key, from, to, signal) {
      if (from >= to) return;
      const options = {
        start: from,
        end: to - 1,
        highWaterMark: READ_BYTES,
        ...(signal === undefined ? {} : { signal }),
      };
      try {
        yield* createReadStream(pathOf(key), options) as AsyncIterable<Uint8Array>;
      } catch (error) {
        signal?.throwIfAborted();
        throw new StorageError('the file cannot be read from storage', { cause: error });
      }
    },
    remove: (key) => orStorageError('the file could not be removed', rm(pathOf(key), { force: true })),
    keysFrom: async () => undefined,
    async *list() {
      for await (const { name } of filesOf(folder)) {
        const info = await stat(pathOf(name)).catch(() => undefined);
        if (info !== undefined) yield { key: name, modifiedAt: info.mtime };
      }
    },
    checkWritable: () => orStorageError('the folder cannot be written', probeFolder(folder)),
    checkReadable: () =>
      access(folder, constants.R_OK | constants.X_OK).then(
        () => true,
        (error: unknown) => {
          if (isMissing(error)) return false;
          throw new StorageError('the folder cannot be read', { cause: error });
        },
      ),
    sweepParts: (olderThanSeconds) =>
      orStorageError('the folder cannot be looked through', sweepFolder(folder, olderThanSeconds)),
    expireAfter: async () => undefined,
    close: () => undefined,
  };
}
