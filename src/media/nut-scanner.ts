/** A piece of a picture within a chunk: bytes `from` to `to` of the chunk are bytes from `offset` on of picture `frame`. */
export type PicturePiece = { frame: number; offset: number; from: number; to: number };

const FILE_ID = Buffer.from('nut/multimedia container\0', 'latin1');
/** First byte of every packet that is not a frame. */
const STARTCODE_FIRST = 0x4e;
const STARTCODE_BYTES = 8;
const MAIN_HEADER = 0x4e4d7a561f5f04adn;
/** Packets with more bytes than this have a checksum in front as well. */
const CHECKED_HEADER_FROM = 4096;
/** Frames with more bytes than this have all of them stored, none left out for being always the same. */
const ELISION_UP_TO = 4096;
/** Far more than any header; where this is not enough, the stream is not what it should be. */
const LONGEST_HEADER = 2 ** 20;

const CODED_PTS = 2 ** 3;
const STREAM_ID = 2 ** 4;
const SIZE_MSB = 2 ** 5;
const CHECKSUM = 2 ** 6;
const RESERVED = 2 ** 7;
const HEADER_IDX = 2 ** 10;
const MATCH_TIME = 2 ** 11;
const CODED = 2 ** 12;

type FrameCode = { flags: number; stream: number; mul: number; lsb: number; reserved: number; header: number };
type Cursor = { bytes: Uint8Array; at: number };

/** Thrown by the readers below where a header goes on in the next chunk. */
const MORE = new Error('more bytes are needed');

function readByte(cursor: Cursor): number {
  const byte = cursor.bytes[cursor.at++];
  if (byte === undefined) throw MORE;
  return byte;
}

/** A number in groups of seven bits, the highest first; bit 7 says that another follows. */
function readNumber(cursor: Cursor): number {
  let value = 0;
  for (;;) {
    const byte = readByte(cursor);
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return value;
  }
}

function skipBytes(cursor: Cursor, count: number): void {
  cursor.at += count;
  if (cursor.at > cursor.bytes.length) throw MORE;
}

/** The table by which one byte stands for what most frames have in common, and the bytes that frames may begin with. */
function readMainHeader(cursor: Cursor): { codes: FrameCode[]; elided: number[] } {
  if (readNumber(cursor) > 3) throw new Error('unknown version of NUT');
  readNumber(cursor); // streams
  readNumber(cursor); // max_distance
  for (let left = readNumber(cursor); left > 0; left--) {
    readNumber(cursor);
    readNumber(cursor);
  }
  const codes: FrameCode[] = [];
  let [mul, stream, header] = [1, 0, 0];
  while (codes.length < 256) {
    const flags = readNumber(cursor);
    const fields = readNumber(cursor);
    const field = (n: number, otherwise: number) => (fields > n ? readNumber(cursor) : otherwise);
    field(0, 0); // pts_delta
    mul = field(1, mul);
    stream = field(2, stream);
    const lsb = field(3, 0);
    const reserved = field(4, 0);
    let count = field(5, mul - lsb);
    field(6, 0); // match_time_delta
    header = field(7, header);
    for (let n = 8; n < fields; n++) readNumber(cursor);
    for (let n = 0; count > 0 && codes.length < 256; ) {
      codes.push({ flags, stream, mul, lsb: lsb + n, reserved, header });
      // The code of startcodes stands for no frame and takes no part in the count.
      if (codes.length - 1 === STARTCODE_FIRST) continue;
      n++;
      count--;
    }
  }
  const elided = [0];
  for (let left = readNumber(cursor); left > 0; left--) {
    const length = readNumber(cursor);
    skipBytes(cursor, length);
    elided.push(length);
  }
  return { codes, elided };
}

/**
 * Finds the pictures of the first stream in a NUT stream that passes in chunks of any size (see the NUT specification,
 * https://ffmpeg.org/nut.html), so that they can be changed on their way without being put together.
 */
export function createNutScanner() {
  let codes: FrameCode[] = [];
  let elided: number[] = [0];
  let begun = false;
  /** A header that began in an earlier chunk. */
  let pending: Uint8Array = new Uint8Array(0);
  let toSkip = 0;
  let picture = { frame: -1, offset: 0, left: 0 };

  /** Reads what stands before the next picture or packet; the cursor is behind it then. */
  function readHeader(cursor: Cursor): void {
    if (!begun) {
      skipBytes(cursor, FILE_ID.length);
      if (!FILE_ID.equals(cursor.bytes.subarray(cursor.at - FILE_ID.length, cursor.at))) throw new Error('not NUT');
      begun = true;
    } else if (cursor.bytes[cursor.at] === STARTCODE_FIRST) readPacket(cursor);
    else readFrame(cursor);
  }

  function readPacket(cursor: Cursor): void {
    const start = cursor.at;
    skipBytes(cursor, STARTCODE_BYTES);
    const code = Buffer.from(cursor.bytes.subarray(start, cursor.at)).readBigUInt64BE();
    const length = readNumber(cursor);
    if (length > CHECKED_HEADER_FROM) skipBytes(cursor, 4);
    if (code !== MAIN_HEADER) {
      toSkip = length;
      return;
    }
    const bodyStart = cursor.at;
    skipBytes(cursor, length);
    ({ codes, elided } = readMainHeader({ bytes: cursor.bytes.subarray(bodyStart, cursor.at), at: 0 }));
  }

  function readFrame(cursor: Cursor): void {
    const code = codes[readByte(cursor)];
    if (code === undefined) throw new Error('a frame before the header');
    let { flags } = code;
    if (flags & CODED) flags ^= readNumber(cursor);
    const has = (flag: number) => (flags & flag) !== 0;
    const stream = has(STREAM_ID) ? readNumber(cursor) : code.stream;
    if (has(CODED_PTS)) readNumber(cursor);
    const size = code.lsb + code.mul * (has(SIZE_MSB) ? readNumber(cursor) : 0);
    if (has(MATCH_TIME)) readNumber(cursor);
    const header = has(HEADER_IDX) ? readNumber(cursor) : code.header;
    const reserved = has(RESERVED) ? readNumber(cursor) : code.reserved;
    for (let left = reserved; left > 0; left--) readNumber(cursor);
    if (has(CHECKSUM)) skipBytes(cursor, 4);
    const offset = size > ELISION_UP_TO ? 0 : (elided[header] ?? 0);
    if (size === 0) return;
    if (stream === 0) picture = { frame: picture.frame + 1, offset, left: size - offset };
    else toSkip = size - offset;
  }

  /** Reads one header that begins at `at` or before; gives the place behind it, undefined where it is not complete. */
  function passHeader(chunk: Uint8Array, at: number): number | undefined {
    const rest = chunk.subarray(at);
    const bytes = pending.length === 0 ? rest : Buffer.concat([pending, rest]);
    const cursor: Cursor = { bytes, at: 0 };
    try {
      readHeader(cursor);
    } catch (error) {
      if (error !== MORE) throw error;
      if (bytes.length > LONGEST_HEADER) throw new Error('a header without end');
      pending = Uint8Array.from(bytes);
      return undefined;
    }
    const behind = at + cursor.at - pending.length;
    pending = new Uint8Array(0);
    return behind;
  }

  return {
    /** The pieces of pictures that lie in the next chunk of the stream, in order. */
    *scan(chunk: Uint8Array): Generator<PicturePiece, void, undefined> {
      let at = 0;
      while (at < chunk.length) {
        if (toSkip > 0) {
          const skipped = Math.min(toSkip, chunk.length - at);
          toSkip -= skipped;
          at += skipped;
        } else if (picture.left > 0) {
          const to = Math.min(at + picture.left, chunk.length);
          const piece = { frame: picture.frame, offset: picture.offset, from: at, to };
          picture.offset += to - at;
          picture.left -= to - at;
          at = to;
          yield piece;
        } else {
          const behind = passHeader(chunk, at);
          if (behind === undefined) return;
          at = behind;
        }
      }
    },
    /** Pictures that have begun so far. */
    frames: () => picture.frame + 1,
  };
}
