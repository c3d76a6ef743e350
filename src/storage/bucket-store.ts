import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  type MultipartUpload,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import pLimit from 'p-limit';
import { StorageError } from '../errors.ts';
import { statusOf } from './bucket-client.ts';
import { keepExpiryRule } from './bucket-lifecycle.ts';
import { nameOfKey, parseName } from './names.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import { unlessSilent } from './unless-silent.ts';

/** Larger objects are written in parts of this size, the least that S3 takes; each part is tried again by itself. */
const PART_BYTES = 5 * 1024 * 1024;

/** Parts of all uploads of this process that may be held in memory. */
const UPLOADS_AT_ONCE = 16;
const PARTS_AT_ONCE = 2;

/** What a request may take: this long, and longer for its bytes at this speed. */
const PATIENCE_MS = 10_000;
const SLOWEST_BYTES_PER_MS = 250;

/** A listing is paid for by the thousand. */
const LIST_EVERY_SECONDS = 600;

const PROBE = 'probe';

/** Statuses of stores that do not know multipart listings, or do not let us have them. */
const CANNOT_TELL = new Set([400, 403, 404, 405, 501]);

/** Objects of a bucket whose keys begin with `prefix`. */
export function openBucketStore(client: S3Client, bucket: string, prefix: string): ObjectStore {
  const uploads = pLimit(UPLOADS_AT_ONCE);
  const target = (key: string) => ({ Bucket: bucket, Key: `${prefix}${key}` });

  /**
   * One request, with a limit to its time.
   *
   * @throws StorageError, or the caller's reason to give up
   */
  async function ask<T>(
    what: string,
    given: AbortSignal | undefined,
    bytes: number,
    request: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    given?.throwIfAborted();
    const abort = new AbortController();
    const giveUp = () => abort.abort(given?.reason);
    const limit = setTimeout(
      () => abort.abort(new Error('it took too long')),
      PATIENCE_MS + bytes / SLOWEST_BYTES_PER_MS,
    );
    given?.addEventListener('abort', giveUp, { once: true });
    try {
      return await request(abort.signal);
    } catch (error) {
      given?.throwIfAborted();
      throw new StorageError(`object storage: ${what} failed`, { cause: error });
    } finally {
      // The body of an answer may take longer.
      clearTimeout(limit);
      given?.removeEventListener('abort', giveUp);
    }
  }

  async function writeWhole(key: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const Body = await buffer(content);
    await client.send(new PutObjectCommand({ ...target(key), Body, ContentLength: Body.length }), {
      abortSignal: signal,
    });
  }

  async function writeParts(key: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const abortController = new AbortController();
    const onAbort = () => abortController.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const Body = Readable.from(content, { objectMode: false });
    try {
      const options = { client, partSize: PART_BYTES, queueSize: PARTS_AT_ONCE, abortController };
      await new Upload({ ...options, params: { ...target(key), Body } }).done();
    } finally {
      signal.removeEventListener('abort', onAbort);
      Body.destroy();
    }
  }

  function write(
    key: string,
    content: () => AsyncIterable<Uint8Array>,
    bytes: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return uploads(() =>
      ask('writing', signal, bytes, (limited) =>
        bytes <= PART_BYTES ? writeWhole(key, content(), limited) : writeParts(key, content(), limited),
      ),
    );
  }

  async function* pages(beginning: string) {
    let token: string | undefined;
    do {
      const page = await ask('listing', undefined, 0, (abortSignal) =>
        client.send(
          new ListObjectsV2Command({ Bucket: bucket, Prefix: `${prefix}${beginning}`, ContinuationToken: token }),
          { abortSignal },
        ),
      );
      yield page.Contents ?? [];
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** Uploads in parts that have not come to an end; none where the store cannot tell, its own rules have to do then. */
  async function* brokenOff(): AsyncGenerator<MultipartUpload> {
    let next: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
    while (next !== undefined) {
      const page: ListMultipartUploadsCommandOutput | undefined = await ask('listing', undefined, 0, (abortSignal) =>
        client
          .send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...next }), { abortSignal })
          .catch((error: unknown) => {
            if (CANNOT_TELL.has(statusOf(error) ?? 0)) return undefined;
            throw error;
          }),
      );
      yield* page?.Uploads ?? [];
      next =
        page?.IsTruncated === true
          ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
          : undefined;
    }
  }

  async function* list(beginning: string): AsyncGenerator<{ key: string; modifiedAt: Date }> {
    for await (const page of pages(beginning)) {
      for (const { Key = '', LastModified } of page) {
        yield { key: Key.slice(prefix.length), modifiedAt: LastModified ?? new Date() };
      }
    }
  }

  async function writeProbe(): Promise<void> {
    await ask('a trial write', undefined, 0, (abortSignal) =>
      client.send(new PutObjectCommand({ ...target(PROBE), Body: '', ContentLength: 0 }), { abortSignal }),
    );
  }

  async function info(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const head = await ask('looking for an object', signal, 0, (abortSignal) =>
      client.send(new HeadObjectCommand(target(key)), { abortSignal }).catch((error: unknown) => {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }),
    );
    if (head === undefined) return undefined;
    return { bytes: head.ContentLength ?? 0, modifiedAt: head.LastModified ?? new Date(0) };
  }

  return {
    localPath: undefined,
    listEverySeconds: LIST_EVERY_SECONDS,
    async adopt(path, key, signal) {
      const { size } = await stat(path).catch((error: unknown) => {
        throw new StorageError('the file could not be stored', { cause: error });
      });
      await write(key, () => createReadStream(path), size, signal);
      await rm(path, { force: true });
    },
    write: (key, content, bytes, signal) => write(key, () => content, bytes, signal),
    info,
    async *read(key, from, to, signal) {
      if (from >= to) return;
      const answer = await ask('reading', signal, 0, (abortSignal) =>
        client.send(new GetObjectCommand({ ...target(key), Range: `bytes=${from}-${to - 1}` }), { abortSignal }),
      );
      const body = answer.Body as Readable;
      const stop = () => body.destroy();
      signal?.addEventListener('abort', stop, { once: true });
      let bytes = 0;
      try {
        for await (const chunk of unlessSilent(body, PATIENCE_MS)) {
          bytes += chunk.length;
          yield chunk;
        }
        if (bytes !== to - from) throw new Error(`${bytes} bytes came of ${to - from}`);
      } catch (error) {
        signal?.throwIfAborted();
        throw new StorageError('object storage: reading broke off', { cause: error });
      } finally {
        signal?.removeEventListener('abort', stop);
        body.destroy();
      }
    },
    async remove(key) {
      await ask('removing', undefined, 0, (abortSignal) =>
        client.send(new DeleteObjectCommand(target(key)), { abortSignal }),
      );
    },
    async keysFrom(beginning) {
      const keys: string[] = [];
      for await (const { key } of list(beginning)) keys.push(key);
      return keys;
    },
    list: () => list(''),
    checkWritable: writeProbe,
    async checkReadable() {
      await info(PROBE);
      return true;
    },
    async sweepParts(olderThanSeconds) {
      const before = Date.now() - olderThanSeconds * 1000;
      let removed = 0;
      for await (const { Key = '', UploadId, Initiated } of brokenOff()) {
        // Others may keep files in the same bucket.
        const isOurs = parseName(nameOfKey(Key.slice(prefix.length))) !== undefined;
        if (!isOurs || UploadId === undefined || Number(Initiated ?? Date.now()) > before) continue;
        await ask('removing', undefined, 0, (abortSignal) =>
          client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }), { abortSignal }),
        );
        removed++;
      }
      return removed;
    },
    expireAfter: (seconds) =>
      ask('setting its expiry rule', undefined, 0, (abortSignal) =>
        keepExpiryRule(client, bucket, prefix, seconds, abortSignal),
      ),
    close: () => client.destroy(),
  };
}
