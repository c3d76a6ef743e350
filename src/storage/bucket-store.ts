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
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import pLimit from 'p-limit';
import { StorageError } from '../errors.ts';
import { statusOf } from './bucket-client.ts';
import type { ObjectStore } from './object-store.ts';
import { unlessSilent } from './unless-silent.ts';

/** Larger objects are written in parts of this size, the least that S3 takes; each part is tried again by itself. */
const PART_BYTES = 5 * 1024 * 1024;

/** Parts of all uploads of this process that may be held in memory. */
const UPLOADS_AT_ONCE = 16;
const PARTS_AT_ONCE = 2;

/** What a request may take: this long, and longer for its bytes at this speed. */
const PATIENCE_MS = 10_000;
const SLOWEST_BYTES_PER_MS = 250;

/** How long a probe for writing holds, in ms: a good one and a bad one. */
const GOOD_PROBE_MS = 10_000;
const BAD_PROBE_MS = 2000;

/** A listing is paid for by the thousand. */
const LIST_EVERY_SECONDS = 600;

const PROBE = 'probe';

/** Objects of a bucket whose keys begin with `prefix`. */
export function openBucketStore(client: S3Client, bucket: string, prefix: string): ObjectStore {
  const uploads = pLimit(UPLOADS_AT_ONCE);
  const target = (key: string) => ({ Bucket: bucket, Key: `${prefix}${key}` });
  let probe: { at: number; outcome: Promise<void>; good: boolean } | undefined;

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
    async info(key, signal) {
      const head = await ask('looking for an object', signal, 0, (abortSignal) =>
        client.send(new HeadObjectCommand(target(key)), { abortSignal }).catch((error: unknown) => {
          if (statusOf(error) === 404) return undefined;
          throw error;
        }),
      );
      if (head === undefined) return undefined;
      return { bytes: head.ContentLength ?? 0, modifiedAt: head.LastModified ?? new Date(0) };
    },
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
    checkWritable() {
      const age = performance.now() - (probe?.at ?? Number.NEGATIVE_INFINITY);
      if (probe !== undefined && age < (probe.good ? GOOD_PROBE_MS : BAD_PROBE_MS)) return probe.outcome;
      const started = { at: performance.now(), outcome: writeProbe(), good: true };
      probe = started;
      started.outcome.catch(() => {
        started.good = false;
        started.at = performance.now();
      });
      return started.outcome;
    },
    async sweepParts(olderThanSeconds) {
      const before = Date.now() - olderThanSeconds * 1000;
      let removed = 0;
      const found = await ask('listing', undefined, 0, (abortSignal) =>
        client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }), { abortSignal }),
      ).catch(() => undefined); // not every store can tell; the bucket's own rules have to do then
      for (const { Key, UploadId, Initiated } of found?.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined || Number(Initiated ?? Date.now()) > before) continue;
        await ask('removing', undefined, 0, (abortSignal) =>
          client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }), { abortSignal }),
        );
        removed++;
      }
      return removed;
    },
  };
}
