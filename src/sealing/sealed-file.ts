import { createCipheriv, createDecipheriv } from 'node:crypto';
import { damaged, deriveKey, type Keyring, newSalt, SALT_BYTES, type SealingKey } from './keyring.ts';

/*
 * A sealed file: a header of 80 bytes (magic 8, key id 32 padded with zeros, plain length 8 big endian, salt 32), then
 * segments of 64 KiB plain text, each AES-256-GCM with its tag behind it; the last one is shorter, of an empty file
 * empty. The file's own key is derived from the header and the file's name, so a changed length, a segment of another
 * file or a file under another name does not open. A segment's number and whether it is the last are its nonce and its
 * associated data (after STREAM, Hoang et al. 2015), so none can be moved, repeated or cut off.
 */
const MAGIC = Buffer.from('RCGSEAL1');
const ID_BYTES = 32;
const LENGTH_BYTES = 8;
export const HEADER_BYTES = MAGIC.length + ID_BYTES + LENGTH_BYTES + SALT_BYTES;
export const SEGMENT_BYTES = 64 * 1024;
const TAG_BYTES = 16;
const STORED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES;

/** What is needed to read a sealed file. */
export type FileSeal = { bytes: number; secret: Buffer };

const segmentsOf = (bytes: number) => Math.max(1, Math.ceil(bytes / SEGMENT_BYTES));

/** How many bytes a file of so many takes when it is sealed. */
export function sealedBytes(bytes: number): number {
  return HEADER_BYTES + bytes + segmentsOf(bytes) * TAG_BYTES;
}

function fileSecret(key: SealingKey, header: Buffer, name: string): Buffer {
  return deriveKey(key, header.subarray(-SALT_BYTES), `file ${name} ${header.toString('hex')}`, 32);
}

function nonceOf(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(index, 7);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** Cuts a stream of bytes into pieces of `size`; the last one may be shorter. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    bytes += chunk.length;
    if (bytes < size) continue;
    let all = Buffer.concat(held);
    for (; all.length >= size; all = all.subarray(size)) yield all.subarray(0, size);
    held = all.length === 0 ? [] : [all];
    bytes = all.length;
  }
  if (bytes > 0) yield Buffer.concat(held);
}

/**
 * Encrypts a file as it is read.
 *
 * @param bytes length of the plain file, which `content` must have
 * @param name under which it will be stored
 */
export async function* sealFile(
  key: SealingKey,
  name: string,
  content: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array> {
  const id = Buffer.alloc(ID_BYTES);
  id.write(key.id, 'latin1');
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64BE(BigInt(bytes));
  const header = Buffer.concat([MAGIC, id, length, newSalt()]);
  yield header;
  const secret = fileSecret(key, header, name);
  const segments = segmentsOf(bytes);
  let index = 0;
  let read = 0;

  function* segment(plain: Uint8Array): Generator<Uint8Array> {
    const nonce = nonceOf(index, index === segments - 1);
    const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(nonce.subarray(7));
    yield cipher.update(plain);
    cipher.final();
    yield cipher.getAuthTag();
    index++;
    read += plain.length;
  }

  for await (const piece of inPieces(content, SEGMENT_BYTES)) yield* segment(piece);
  if (bytes === 0) yield* segment(new Uint8Array(0));
  if (read !== bytes) throw new Error('the file has changed while it was stored');
}

/**
 * Reads the header of a sealed file.
 *
 * @param header its first {@link HEADER_BYTES} bytes
 * @param storedBytes length of the sealed file
 * @throws AppError INTERNAL where the key is missing or the file is not whole
 */
export function openSeal(keyring: Keyring, name: string, header: Buffer, storedBytes: number): FileSeal {
  if (header.length !== HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC))
    throw damaged(`the stored file ${name} has no header of an encrypted file`);
  const id = header.toString('latin1', MAGIC.length, MAGIC.length + ID_BYTES).replace(/\0+$/, '');
  const key = keyring.find(id);
  const bytes = Number(header.readBigUInt64BE(MAGIC.length + ID_BYTES));
  if (sealedBytes(bytes) !== storedBytes) throw damaged(`the stored file ${name} is not as long as its header says`);
  return { bytes, secret: fileSecret(key, header, name) };
}

/**
 * Decrypts a part of a sealed file as it is read; no more than the segments that hold it.
 *
 * @param readStored reads the sealed file from one byte up to, not including, another
 * @param from first byte of the plain file, `to` the one behind the last
 * @throws AppError INTERNAL where a segment was changed, moved or cut off; what was yielded before is as it was stored
 */
export async function* readSealed(
  { bytes, secret }: FileSeal,
  name: string,
  readStored: (from: number, to: number) => AsyncIterable<Uint8Array>,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  if (from >= to) return;
  const segments = segmentsOf(bytes);
  let index = Math.floor(from / SEGMENT_BYTES);
  const behind = Math.ceil(to / SEGMENT_BYTES);
  const storedFrom = HEADER_BYTES + index * STORED_SEGMENT_BYTES;
  const storedTo = Math.min(HEADER_BYTES + behind * STORED_SEGMENT_BYTES, sealedBytes(bytes));
  for await (const stored of inPieces(readStored(storedFrom, storedTo), STORED_SEGMENT_BYTES)) {
    const start = index * SEGMENT_BYTES;
    const plain = openSegment(secret, name, stored, index, index === segments - 1);
    yield plain.subarray(Math.max(0, from - start), to - start);
    index++;
  }
  if (index < behind) throw damaged(`the stored file ${name} ends too early`);
}

function openSegment(secret: Buffer, name: string, stored: Buffer, index: number, isLast: boolean): Buffer {
  try {
    const nonce = nonceOf(index, isLast);
    const decipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(nonce.subarray(7));
    decipher.setAuthTag(stored.subarray(-TAG_BYTES));
    const plain = decipher.update(stored.subarray(0, -TAG_BYTES));
    decipher.final();
    return plain;
  } catch (error) {
    throw damaged(`segment ${index} of the stored file ${name} cannot be opened`, error);
  }
}
