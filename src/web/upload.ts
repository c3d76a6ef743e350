import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Request, RequestHandler, Response } from 'express';
import multer from 'multer';
import { AppError, StorageError } from '../errors.ts';
import { freeBuffer } from '../free-buffer.ts';
import type { Storage } from '../storage/storage.ts';
import { invalidOption } from './request-options.ts';

/** Bytes from the start of an upload by which its type is told, and in most pictures its size. */
const HEAD_BYTES = 64 * 1024;

const NOTHING = Buffer.alloc(0);

/** Bytes that are written to the disk at a time. */
const BATCH_BYTES = 1024 * 1024;

/** Pieces in which they may have come: each takes some 200 bytes of memory, be it of a single byte. */
const BATCH_PIECES = 1024;

/** Bytes that may wait for the disk before the client is slowed down; with less, reading stops at every chunk. */
const READ_AHEAD_BYTES = 256 * 1024;

/** Boundaries, part headers and options around a file of the greatest size. */
const MULTIPART_OVERHEAD_BYTES = 64 * 1024;

export type Upload = { path: string; head: Uint8Array; bytes: number; sha256: string };

type StoredPart = Express.Multer.File & { upload?: Upload };

/** A network brings chunks of a kilobyte or two, hundreds at a time. */
const LEAST_CHUNK_BYTES = 1024;

/**
 * Gives back what the connection's chunks held of a file. Left to V8, they make it look through its whole heap every
 * twenty megabytes, for some 40 ms each time. Only a piece up to its chunk's end: a later field may lie behind it. A
 * slice of the pool that Node makes small buffers from is never more than half of it.
 */
function freeChunks(pieces: readonly Buffer[]): void {
  for (const { buffer, byteOffset, length } of pieces) {
    const isLastOfChunk = byteOffset + length === buffer.byteLength && length * 2 > buffer.byteLength;
    if (isLastOfChunk) freeBuffer(new Uint8Array(buffer), LEAST_CHUNK_BYTES);
  }
}

/**
 * Writes a part to a temporary file as it arrives; hash, size and first bytes are taken on the way. The file of an empty
 * part is not made, of one that is too large no more is written.
 *
 * Without streams of Node's to write with on purpose: a transform and a write stream cost a quarter of all that the web
 * process does for a request, reading as an async iterable some more. A batch is written before more is read, so that a
 * slow disk slows the client down.
 */
async function receive({ stream }: StoredPart, path: string, limitBytes: number): Promise<Upload> {
  const hash = createHash('sha256');
  let head: Buffer = NOTHING;
  let bytes = 0;
  let batch: Buffer[] = [];
  let batched = 0;
  let opening: Promise<FileHandle> | undefined;
  const file = () => {
    opening ??= open(path, 'wx');
    return opening;
  };

  async function writeBatch(): Promise<void> {
    if (batched === 0) return;
    const [buffers, length] = [batch, batched];
    batch = [];
    batched = 0;
    const target = await file();
    const { bytesWritten } = await target.writev(buffers);
    // A disk that is almost full takes a part; writing the rest brings out the error.
    if (bytesWritten < length) await target.writeFile(Buffer.concat(buffers).subarray(bytesWritten));
    if (head.length < HEAD_BYTES) head = Buffer.concat([head, ...buffers], Math.min(HEAD_BYTES, head.length + length));
    freeChunks(buffers);
  }

  function take(chunk: Buffer): void {
    hash.update(chunk);
    bytes += chunk.length;
    batch.push(chunk);
    batched += chunk.length;
  }

  try {
    await new Promise<void>((resolve, reject) => {
      stream.on('data', (chunk: Buffer) => {
        if (opening === undefined) file().catch(reject);
        take(chunk);
        if (batched < BATCH_BYTES && batch.length < BATCH_PIECES) return;
        stream.pause();
        writeBatch().then(() => stream.resume(), reject);
      });
      stream.once('limit', () => reject(tooLarge(limitBytes)));
      stream.once('end', () => writeBatch().then(resolve, reject));
      stream.once('error', reject);
      stream.once('close', () => {
        if (!stream.readableEnded) reject(new Error('the part was cut off'));
      });
    });
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    const opened = await opening?.catch(() => undefined);
    await opened?.close();
  }
  return { path, head, bytes, sha256: hash.digest('hex') };
}

/** What is done with the file of one request; `refuse` removes it. */
type Reception = {
  path: string;
  isRefused(): boolean;
  onReceiving(now: boolean): void;
  refuse(error: unknown): Promise<void>;
};

function multerStorage(storage: Storage, limitBytes: number, reception: Reception): multer.StorageEngine {
  const { path, isRefused, onReceiving, refuse } = reception;
  return {
    async _handleFile(request, file, done) {
      if (isRefused()) {
        file.stream.resume();
        done(new Error('the form is refused'));
        return;
      }
      onReceiving(true);
      try {
        const upload = await receive(file, path, limitBytes);
        // When the client hangs up Multer does not wait for the disk, and takes no answer.
        if (request.destroyed && !request.complete) throw new Error('the client hung up');
        onReceiving(false);
        done(null, { path, size: upload.bytes, upload } as Partial<StoredPart>);
      } catch (error) {
        // Multer itself tells only when the client has sent everything.
        await refuse(error);
        done(error);
      }
    },
    _removeFile(_request, _file, done) {
      storage.discard(path).then(
        () => done(null),
        (error: unknown) => done(error as Error),
      );
    },
  };
}

const noFile = () => new AppError('NO_FILE', 'Send the file as multipart/form-data in the field `file`.');

const LIMIT_SENTENCES: Record<string, string> = {
  LIMIT_PART_COUNT: 'The form has too many parts.',
  LIMIT_FILE_COUNT: 'Send one file at a time.',
  LIMIT_UNEXPECTED_FILE: 'Send one file at a time, in the field `file`.',
  LIMIT_FIELD_COUNT: 'The form has too many fields.',
  LIMIT_FIELD_KEY: 'The name of a form field is too long.',
  LIMIT_FIELD_VALUE: 'The value of a form field is too long.',
};

/** Faults of the client's connection; other faults of the system come from the disk. */
const OF_CONNECTIONS = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE']);

/** What a client gets for an error of the multipart parser. */
function uploadError(error: unknown, limitBytes: number): unknown {
  if (error instanceof multer.MulterError) {
    if (error.code === 'LIMIT_FILE_SIZE') return tooLarge(limitBytes);
    if ((error.code as string) === 'LIMIT_FIELD_NESTING')
      return invalidOption([{ option: error.field ?? '', message: 'is not known' }]);
    if (error.code === 'LIMIT_UNEXPECTED_FILE' && error.field !== 'file') return noFile();
    return new AppError('BAD_REQUEST', LIMIT_SENTENCES[error.code] ?? 'The form cannot be read.', { cause: error });
  }
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof AppError) return error;
  if (code !== undefined && /^E[A-Z]+$/.test(code) && !OF_CONNECTIONS.has(code))
    return new StorageError('the upload could not be written', { cause: error });
  return new AppError('BAD_REQUEST', 'The multipart body is broken or was cut off.', { cause: error });
}

const tooLarge = (limitBytes: number) =>
  new AppError('FILE_TOO_LARGE', `The file is larger than the ${limitBytes} bytes that are allowed.`);

/** Refuses by the announced length, before a byte is read. */
export function refuseTooLarge(limitBytes: number): RequestHandler {
  return (request, _response, next) => {
    if (Number(request.get('content-length') ?? 0) > limitBytes + MULTIPART_OVERHEAD_BYTES) throw tooLarge(limitBytes);
    next();
  };
}

/**
 * Reads the multipart body: the file goes to a temporary file, the other fields to `request.body`.
 *
 * @throws AppError NO_FILE, FILE_TOO_LARGE, BAD_REQUEST; nothing stays behind then
 */
export function uploadReader(
  storage: Storage,
  limitBytes: number,
): (request: Request, response: Response) => Promise<Upload> {
  const limits = {
    fileSize: limitBytes,
    files: 1,
    fields: 40,
    parts: 42,
    fieldSize: 16 * 1024,
    fieldNameSize: 100,
    fieldNestingDepth: 0,
    headerPairs: 50,
  };

  // Multer's types do not know the last two.
  const options = { defParamCharset: 'utf8', limits, fileHwm: READ_AHEAD_BYTES, highWaterMark: READ_AHEAD_BYTES };

  return async (request, response) => {
    let [bytes, receiving, refused] = [0, false, false];
    const path = storage.temporaryPath();
    await new Promise<void>((resolve, reject) => {
      const refuse = async (error: unknown) => {
        refused = true;
        await storage.discard(path).catch(() => undefined);
        reject(uploadError(error, limitBytes));
      };
      // Of a broken form Multer takes in all that comes before it tells. A file has a limit of its own.
      const checkBytes = () => {
        const tooMany = bytes > limitBytes + MULTIPART_OVERHEAD_BYTES;
        if (tooMany && !receiving && !refused) void refuse(tooLarge(limitBytes));
      };
      const onReceiving = (now: boolean) => {
        receiving = now;
        checkBytes();
      };
      const engine = multerStorage(storage, limitBytes, { path, isRefused: () => refused, onReceiving, refuse });
      multer({ storage: engine, ...options }).single('file')(request, response, (error: unknown) => {
        if (error) void refuse(error);
        else if (!refused) resolve();
      });
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        checkBytes();
      });
    });
    const upload = (request.file as StoredPart | undefined)?.upload;
    if (upload === undefined) throw noFile();
    if (upload.bytes === 0) {
      await storage.discard(upload.path);
      throw new AppError('NO_FILE', 'The file in the field `file` is empty.');
    }
    return upload;
  };
}
