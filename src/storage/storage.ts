import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { StartError, StorageError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { makeFolder } from '../make-folder.ts';
import { type Keyring, NO_KEYS } from '../sealing/keyring.ts';
import { type FileSeal, HEADER_BYTES, openSeal, readSealed, sealedBytes, sealFile } from '../sealing/sealed-file.ts';
import type { BucketSettings } from './bucket-client.ts';
import { openFolderStore } from './folder-store.ts';
import { derivedNames, keyOf, nameOfKey, parseName } from './names.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import { openWorkspace, type Workspace } from './workspace.ts';

export type StoredInfo = { name: string; ageSeconds: number };

/** A stored file, opened to be sent. */
export type StoredContent = {
  bytes: number;
  modifiedAt: Date;
  /** Reads from a byte up to, not including, another. @throws StorageError, AppError INTERNAL for damaged ones */
  read(from: number, to: number): AsyncIterable<Uint8Array>;
};

/** A stored file as local programs can read it; to be released. */
export type LocalFile = { path: string; release(): Promise<void> };

/**
 * Where uploads and what was made of them live. A file appears under its name whole or not at all; with a key it is
 * encrypted. Methods throw StorageError where the store does not answer, the signal's reason when that aborts, and
 * AppError INTERNAL for files that are encrypted with a missing key or damaged.
 */
export type Storage = Pick<Workspace, 'temporaryPath' | 'discard' | 'discardOf' | 'discardOrphans'> & {
  /** Whether {@link Storage.fetch} makes copies: something may lie about after a kill. */
  readonly copies: boolean;
  /** For how many seconds a look through all files is not to be repeated. */
  readonly listEverySeconds: number;
  /** Gives a finished temporary file its name; the temporary one is gone where it went well. */
  commit(temporaryPath: string, name: string, signal?: AbortSignal): Promise<void>;
  /**
   * The file on this machine: the stored one itself where it can be read as it is, else a temporary copy.
   *
   * @param taskId as for {@link Workspace.temporaryPath}
   */
  fetch(name: string, taskId?: string, signal?: AbortSignal): Promise<LocalFile | undefined>;
  /** Undefined where there is no such file. */
  open(name: string, signal?: AbortSignal): Promise<StoredContent | undefined>;
  has(name: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** Removes a file and all that was made of it. */
  removeAll(name: string): Promise<void>;
  /** @throws where nothing can be written */
  checkWritable(): Promise<void>;
  expireAfter: ObjectStore['expireAfter'];
  stored(): AsyncGenerator<StoredInfo>;
  /** Removes what was being written and nobody has written to for so long. Returns how many. */
  sweepTemporary(olderThanSeconds: number): Promise<number>;
  /** Ends connections to the store. */
  close(): void;
};

/** A file that is opened only once somebody reads it: what waits for its turn may never get it. */
async function* contentOf(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path) as AsyncIterable<Uint8Array>;
}

type Found = { key: string; sealed: boolean; info: ObjectInfo };

function composeStorage(store: ObjectStore, workspace: Workspace, keyring: Keyring): Storage {
  const { current } = keyring;
  const { temporaryPath, discard, discardOf, discardOrphans } = workspace;

  function known(name: string): string {
    if (parseName(name) === undefined) throw new Error('not the name of a stored file');
    return name;
  }

  async function find(name: string, signal?: AbortSignal): Promise<Found | undefined> {
    for (const sealed of current === undefined ? [false, true] : [true, false]) {
      const key = keyOf(name, sealed);
      const info = await store.info(key, signal);
      if (info !== undefined) return { key, sealed, info };
    }
    return undefined;
  }

  async function sealOf(name: string, { key, info }: Found, signal?: AbortSignal): Promise<FileSeal> {
    const header = await buffer(store.read(key, 0, Math.min(HEADER_BYTES, info.bytes), signal));
    return openSeal(keyring, name, header, info.bytes);
  }

  async function open(name: string, signal?: AbortSignal): Promise<StoredContent | undefined> {
    const found = await find(known(name), signal);
    if (found === undefined) return undefined;
    const { key, sealed, info } = found;
    const readStored = (from: number, to: number) => store.read(key, from, to, signal);
    if (!sealed) return { ...info, read: readStored };
    const seal = await sealOf(name, found, signal);
    return {
      bytes: seal.bytes,
      modifiedAt: info.modifiedAt,
      read: (from, to) => readSealed(seal, name, readStored, from, to),
    };
  }

  async function copy(content: StoredContent, path: string, signal?: AbortSignal): Promise<void> {
    const target = createWriteStream(path, { flags: 'wx', mode: 0o600 });
    try {
      await pipeline(content.read(0, content.bytes), target, signal === undefined ? {} : { signal });
    } catch (error) {
      await discard(path);
      signal?.throwIfAborted();
      throw error;
    }
  }

  async function removeBoth(name: string): Promise<void> {
    await Promise.all([store.remove(keyOf(name, false)), store.remove(keyOf(name, true))]);
  }

  return {
    temporaryPath,
    discard,
    discardOf,
    discardOrphans,
    copies: store.localPath === undefined || current !== undefined,
    listEverySeconds: store.listEverySeconds,
    async commit(path, name, signal) {
      if (current === undefined) return store.adopt(path, known(name), signal);
      const { size } = await stat(path).catch((error: unknown) => {
        throw new StorageError('the file could not be stored', { cause: error });
      });
      const content = sealFile(current, known(name), contentOf(path), size);
      await store.write(keyOf(name, true), content, sealedBytes(size), signal);
      await discard(path);
    },
    async fetch(name, taskId, signal) {
      if (store.localPath !== undefined && current === undefined) {
        const found = await find(known(name), signal);
        if (found === undefined) return undefined;
        if (!found.sealed) return { path: store.localPath(name), release: async () => undefined };
      }
      const content = await open(name, signal);
      if (content === undefined) return undefined;
      const path = temporaryPath(taskId);
      await copy(content, path, signal);
      return { path, release: () => discard(path) };
    },
    open,
    has: async (name) => (await find(known(name))) !== undefined,
    remove: async (name) => removeBoth(known(name)),
    async removeAll(name) {
      const base = parseName(known(name))?.base ?? name;
      const keys = await store.keysFrom(base);
      if (keys !== undefined) await Promise.all(keys.map((key) => store.remove(key)));
      else await Promise.all([name, ...derivedNames(base)].map(removeBoth));
    },
    async checkWritable() {
      await Promise.all([workspace.checkWritable(), store.checkWritable()]);
    },
    async *stored() {
      for await (const { key, modifiedAt } of store.list()) {
        const name = nameOfKey(key);
        if (parseName(name) !== undefined) yield { name, ageSeconds: (Date.now() - modifiedAt.getTime()) / 1000 };
      }
    },
    async sweepTemporary(olderThanSeconds) {
      return (await workspace.sweep(olderThanSeconds)) + (await store.sweepParts(olderThanSeconds));
    },
    expireAfter: store.expireAfter,
    close: () => store.close(),
  };
}

/** @throws StartError that names what to set */
function makeOwnFolder(folder: string, what: string, settings: string): void {
  try {
    // What people send is for this service alone.
    makeFolder(folder, 0o700);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(`The folder for ${what} cannot be made (${code}). Set ${settings} to another.`);
  }
}

const makeTemporaryFolder = (folder: string) => makeOwnFolder(folder, 'temporary files', 'TMP_DIR');

/** Files in a local folder; temporary ones in another, best on the same volume. Makes both where they are missing. */
export async function openLocalStorage(
  folder: string,
  temporaryFolder: string,
  keyring: Keyring = NO_KEYS,
): Promise<Storage> {
  makeOwnFolder(folder, 'uploads', 'UPLOAD_FOLDER or DATA_DIR');
  makeTemporaryFolder(temporaryFolder);
  return composeStorage(openFolderStore(folder), openWorkspace(temporaryFolder), keyring);
}

export type StorageSettings = { folder: string; temporaryFolder: string; bucket: BucketSettings | undefined };

/** The SDK takes its time and memory to load: only those who need it have it. */
async function connect(settings: BucketSettings, log?: Logger): Promise<ObjectStore> {
  const { checkBucket, connectBucket } = await import('./bucket-client.ts');
  const { openBucketStore } = await import('./bucket-store.ts');
  const client = connectBucket(settings);
  if (log !== undefined) await checkBucket(client, settings.bucket, log);
  return openBucketStore(client, settings.bucket, settings.prefix);
}

/**
 * Opens storage as the settings say.
 *
 * @throws StartError where folders cannot be made, or the bucket is not there
 */
export async function openStorage(settings: StorageSettings, keyring: Keyring, log: Logger): Promise<Storage> {
  const { folder, temporaryFolder, bucket } = settings;
  if (bucket === undefined) return openLocalStorage(folder, temporaryFolder, keyring);
  makeTemporaryFolder(temporaryFolder);
  return composeStorage(await connect(bucket, log), openWorkspace(temporaryFolder), keyring);
}

export type StoredFiles = Pick<Storage, 'open' | 'removeAll' | 'close'> & Pick<ObjectStore, 'checkReadable'>;

/** What is stored, for one who stores nothing: a folder that this machine does not have is an empty one. */
export async function openStoredFiles(
  { folder, temporaryFolder, bucket }: StorageSettings,
  keyring: Keyring,
): Promise<StoredFiles> {
  const store = bucket === undefined ? openFolderStore(folder) : await connect(bucket);
  const { open, removeAll, close } = composeStorage(store, openWorkspace(temporaryFolder), keyring);
  return { open, removeAll, close, checkReadable: store.checkReadable };
}
