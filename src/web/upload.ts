import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Request, RequestHandler, Response } from 'express';
import multer from 'multer';
import { AppError } from '../errors.ts';
import type { Storage } from '../storage/storage.ts';
import { invalidOption } from './request-options.ts';

/** Bytes from the start of an upload by which its type is told, and in most pictures its size. */
const HEAD_BYTES = 64 * 1024;

/** Bytes that are written to the disk at a time. */
const BATCH_BYTES = 1024 * 1024;

/** Boundaries, part headers and options around a file of the greatest size. */
const MULTIPART_OVERHEAD_BYTES = 64 * 1024;

export type Upload = { path: string; head: Uint8Array; bytes: number; sha256: string };

type StoredPart = Express.Multer.File & { upload?: Upload };

/**
 * Writes a part to a temporary file as it arrives; hash, size and first bytes are taken on the way. The file of an empty
 * part is not made.
 *
 * Without streams of Node's on purpose: a transform and a write stream cost a quarter of all that the web process does
 * for a request. A batch is written before more is read, so that a slow disk slows the client down.
 */
async function receive(part: StoredPart, path: string): Promise<Upload> {
  const hash = createHash('sha256');
  const head: Buffer[] = [];
  let bytes = 0;
  let batch: Buffer[] = [];
  let batched = 0;
  let file: FileHandle | undefined;

  async function writeBatch(): Promise<void> {
    const { bytesWritten = 0 } = (await file?.writev(batch)) ?? {};
    // A disk that is almost full takes a part; writing the rest brings out the error.
    if (bytesWritten < batched) await file?.writeFile(Buffer.concat(batch).subarray(bytesWritten));
    batch = [];
    batched = 0;
  }

  try {
    for await (const chunk of part.stream as AsyncIterable<Buffer>) {
      file ??= await open(path, 'wx');
      hash.update(chunk);
      if (bytes < HEAD_BYTES) head.push(chunk.subarray(0, HEAD_BYTES - bytes));
      bytes += chunk.length;
      batch.push(chunk);
      batched += chunk.length;
      if (batched >= BATCH_BYTES) await writeBatch();
    }
    if (batched > 0) await writeBatch();
  } finally {
    await file?.close();
  }
  return { path, head: Buffer.concat(head), bytes, sha256: hash.digest('hex') };
}

/** @param onTooLarge called at once; Multer itself tells only when the client has sent everything */
function multerStorage(storage: Storage, onTooLarge: () => void): multer.StorageEngine {
  return {
    _handleFile(_request, file, done) {
      const path = storage.temporaryPath();
      // Multer looks for `path` when the client hangs up in the middle.
      file.path = path;
      file.stream.once('limit', onTooLarge);
      receive(file, path).then(
        (upload) => done(null, { path, size: upload.bytes, upload } as Partial<StoredPart>),
        (error: unknown) => void storage.discard(path).finally(() => done(error)),
      );
    },
    _removeFile(_request, file, done) {
      storage.discard(file.path).then(
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
  if (error instanceof AppError || (code !== undefined && /^E[A-Z]+$/.test(code) && code !== 'ECONNRESET'))
    return error;
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

  return async (request, response) => {
    await new Promise<void>((resolve, reject) => {
      const engine = multerStorage(storage, () => reject(tooLarge(limitBytes)));
      const receiveOne = multer({ storage: engine, defParamCharset: 'utf8', limits }).single('file');
      receiveOne(request, response, (error: unknown) => (error ? reject(uploadError(error, limitBytes)) : resolve()));
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
