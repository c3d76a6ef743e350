/** What is known of a stored object. */
export type ObjectInfo = { bytes: number; modifiedAt: Date };

/** By which the store itself removes objects so many days after they were written. */
export type ExpiryRule = { days: number; isNew: boolean };

/**
 * A flat store of objects by key: a local folder or a bucket. An object is there whole or not at all.
 *
 * Every method throws StorageError where the store does not answer, and the signal's reason when that aborts.
 */
export type ObjectStore = {
  /** Path of an object that local programs may read directly; undefined where there are none. */
  readonly localPath: ((key: string) => string) | undefined;
  /** For how many seconds a listing is to be left alone: it costs money or a long time. */
  readonly listEverySeconds: number;
  /** Makes a finished local file an object; the file is gone afterwards, where it went well. */
  adopt(path: string, key: string, signal?: AbortSignal): Promise<void>;
  write(key: string, content: AsyncIterable<Uint8Array>, bytes: number, signal?: AbortSignal): Promise<void>;
  /** Undefined where there is no such object. */
  info(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /** Reads from a byte up to, not including, another. */
  read(key: string, from: number, to: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Removes an object, whether it is there or not. */
  remove(key: string): Promise<void>;
  /** Objects whose keys begin so; of a store that cannot look that up undefined. */
  keysFrom(beginning: string): Promise<string[] | undefined>;
  list(): AsyncGenerator<{ key: string; modifiedAt: Date }>;
  /** @throws where nothing can be written */
  checkWritable(): Promise<void>;
  /** Whether there is such a store to be seen from here; asks for no right to write. @throws where it does not answer */
  checkReadable(): Promise<boolean>;
  /** Removes what is left of writes that broke off so long ago. Returns how many. */
  sweepParts(olderThanSeconds: number): Promise<number>;
  /**
   * Sees to it that the store itself removes objects, some days after so many seconds: a second line for when nobody here
   * does. Undefined for a folder, which has no such rules.
   */
  expireAfter(seconds: number): Promise<ExpiryRule | undefined>;
  /** Ends its connections. */
  close(): void;
};
