import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelEntry } from './manifest.ts';

/** What a file must be: the size bounds what is read, the sum decides. */
export type Expected = Pick<ModelEntry, 'file' | 'bytes' | 'sha256'>;

/** Why a place did not give the file; the sentence is for the person at the terminal. */
export class TransferError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TransferError';
  }
}

export type TransferTimeouts = {
  /** Until the first byte of an answer, in ms. */
  answerMs: number;
  /** Between two pieces of the body, in ms. */
  stallMs: number;
};

/** Patience with mirrors and official sites. */
export const TRANSFER_TIMEOUTS: TransferTimeouts = { answerMs: 10_000, stallMs: 30_000 };

const LFS_POINTER = 'version https://git-lfs.github.com/spec/';

const PART_ENDING = '.part';

/** A temporary path for a file that is not whole yet, beside its final one. */
export function partPath(dir: string, file: string): string {
  return join(dir, `.${file}.${randomUUID()}${PART_ENDING}`);
}

/** Whether a file name is one of {@link partPath}. */
export function isPart(name: string): boolean {
  return name.startsWith('.') && name.endsWith(PART_ENDING);
}

function sizeMismatch(received: number, expected: Expected, head: Buffer): TransferError {
  if (head.toString('latin1', 0, LFS_POINTER.length) === LFS_POINTER) {
    return new TransferError('holds a Git LFS pointer instead of the file');
  }
  return new TransferError(`has ${received} bytes instead of ${expected.bytes}`);
}

/**
 * Writes a stream to a temporary name, checks size and sum, then renames: the final name never shows a part.
 *
 * @throws TransferError when size or sum is wrong
 */
async function store(source: AsyncIterable<Uint8Array>, dir: string, expected: Expected): Promise<void> {
  const part = partPath(dir, expected.file);
  const file = await open(part, 'wx');
  try {
    const hash = createHash('sha256');
    let head: Buffer = Buffer.alloc(0);
    let received = 0;
    for await (const chunk of source) {
      if (head.length < LFS_POINTER.length) head = Buffer.concat([head, chunk.subarray(0, LFS_POINTER.length)]);
      received += chunk.length;
      if (received > expected.bytes) throw new TransferError(`has more than the expected ${expected.bytes} bytes`);
      hash.update(chunk);
      await file.write(chunk);
    }
    if (received !== expected.bytes) throw sizeMismatch(received, expected, head);
    if (hash.digest('hex') !== expected.sha256) throw new TransferError('has the wrong SHA-256 sum');
    await file.sync();
    await file.close();
    await rename(part, join(dir, expected.file));
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
    throw error;
  }
}

async function* contentOf(path: string): AsyncIterable<Uint8Array> {
  const file = await open(path, 'r');
  try {
    yield* file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>;
  } finally {
    await file.close();
  }
}

/**
 * Copies a local file into `dir`.
 *
 * @throws TransferError when there is none, or size or sum is wrong
 */
export async function copyFrom(path: string, dir: string, expected: Expected): Promise<void> {
  try {
    await store(contentOf(path), dir, expected);
  } catch (error) {
    const { code, path: failed, syscall } = error as NodeJS.ErrnoException;
    // Faults of the target are not the source's: they have its name, or come from writing.
    if (code === undefined || (failed !== path && syscall !== 'read')) throw error;
    throw new TransferError(code === 'ENOENT' || code === 'ENOTDIR' ? 'is not there' : `cannot be read (${code})`);
  }
}

async function* guarded(body: AsyncIterable<Uint8Array>, onChunk: () => void): AsyncIterable<Uint8Array> {
  for await (const chunk of body) {
    onChunk();
    yield chunk;
  }
}

function whyUnreachable(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string } };
  return `cannot be reached (${cause?.code ?? cause?.message ?? (error as Error).message})`;
}

/**
 * Downloads a file over HTTP into `dir`. Credentials in the URL are sent as basic authorization.
 *
 * @throws TransferError when it cannot be had in time, or status, size or sum is wrong
 */
export async function download(
  address: string,
  dir: string,
  expected: Expected,
  timeouts: TransferTimeouts = TRANSFER_TIMEOUTS,
): Promise<void> {
  if (!URL.canParse(address)) throw new TransferError('is no valid URL');
  const url = new URL(address);
  // The length that a server states counts only for the plain bytes.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (url.username !== '') {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
    url.username = '';
    url.password = '';
  }
  const abort = new AbortController();
  let late: string | undefined;
  const expire = (ms: number, why: string) =>
    setTimeout(() => {
      late = why;
      abort.abort();
    }, ms);
  let timer = expire(timeouts.answerMs, `gave no answer within ${timeouts.answerMs / 1000} s`);
  const stall = () => {
    clearTimeout(timer);
    timer = expire(timeouts.stallMs, `sent nothing more for ${timeouts.stallMs / 1000} s`);
  };
  try {
    const response = await fetch(url, { headers, signal: abort.signal }).catch((error: unknown) => {
      throw new TransferError(whyUnreachable(error));
    });
    stall();
    if (!response.ok || response.body === null) throw new TransferError(`answered ${response.status}`);
    await store(guarded(response.body, stall), dir, expected);
  } catch (error) {
    if (late !== undefined) throw new TransferError(late);
    if (error instanceof TypeError) throw new TransferError(`broke off (${whyUnreachable(error)})`);
    throw error;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

/** SHA-256 of a file in hexadecimal digits. */
export async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
