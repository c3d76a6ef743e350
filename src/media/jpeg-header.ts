import type { Size } from '../detect/detector.ts';

const SOI = 0xffd8;
const SOS = 0xffda;
const DQT = 0xffdb;
const DHT = 0xffc4;
const DRI = 0xffdd;
const COM = 0xfffe;
const APP0 = 0xffe0;
const APP1 = 0xffe1;
const APP15 = 0xffef;

/** Baseline, extended and progressive, Huffman-coded. */
const FRAMES = new Set([0xffc0, 0xffc1, 0xffc2]);

const EXIF = 0x45786966;

/** What libjpeg takes at most in each direction. */
const MAX_PIXELS = 65_500;

/** Undefined for a frame header that libjpeg would not take, or not as 8-bit grey, colour or CMYK. */
function frameSize(view: DataView): Size | undefined {
  const components = view.byteLength < 6 ? 0 : view.getUint8(5);
  if (![1, 3, 4].includes(components) || view.byteLength !== 6 + 3 * components || view.getUint8(0) !== 8) return;
  for (let index = 0; index < components; index++) {
    const sampling = view.getUint8(7 + 3 * index);
    if (![sampling >> 4, sampling & 15].every((factor) => factor >= 1 && factor <= 4)) return;
  }
  const [height, width] = [view.getUint16(1), view.getUint16(3)];
  return Math.min(width, height) >= 1 && Math.max(width, height) <= MAX_PIXELS ? { width, height } : undefined;
}

/** Whether the tables of a segment fill it to its end. `bytesOf` tells the length of the one at a place, 0 for none. */
function isFilled(view: DataView, bytesOf: (at: number) => number): boolean {
  let at = 0;
  while (at < view.byteLength) {
    const bytes = bytesOf(at);
    if (bytes === 0) return false;
    at += bytes;
  }
  return at === view.byteLength;
}

function quantizationBytes(view: DataView, at: number): number {
  const [precision, table] = [view.getUint8(at) >> 4, view.getUint8(at) & 15];
  return precision <= 1 && table <= 3 ? 1 + 64 * (1 + precision) : 0;
}

function huffmanBytes(view: DataView, at: number): number {
  if ((view.getUint8(at) & 0xef) > 3 || at + 17 > view.byteLength) return 0;
  let codes = 0;
  for (let length = 1; length <= 16; length++) codes += view.getUint8(at + length);
  return codes <= 256 ? 17 + codes : 0;
}

/** Whether there is nothing in a segment that changes how the picture is seen, and nothing wrong with it. */
function isPlain(marker: number, view: DataView): boolean {
  if (marker === DQT) return isFilled(view, (at) => quantizationBytes(view, at));
  if (marker === DHT) return isFilled(view, (at) => huffmanBytes(view, at));
  if (marker === DRI) return view.byteLength === 2;
  if (marker === APP1) return view.byteLength < 4 || view.getUint32(0) !== EXIF;
  return marker === COM || (marker >= APP0 && marker <= APP15);
}

/**
 * Width and height in pixels of a JPEG, where its first bytes leave no doubt: they hold all that stands before its scan,
 * all of that is sound, and no EXIF may turn it (ITU-T T.81, annex B). Undefined for every other one, which is for a
 * decoder to tell.
 */
export function readJpegSize(head: Uint8Array): Size | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.byteLength < 2 || view.getUint16(0) !== SOI) return;
  let size: Size | undefined;
  for (let at = 2; at + 4 <= view.byteLength; ) {
    const marker = view.getUint16(at);
    const end = at + 2 + view.getUint16(at + 2);
    if (end < at + 4 || end > view.byteLength) return;
    const segment = new DataView(head.buffer, head.byteOffset + at + 4, end - at - 4);
    if (marker === SOS) return size;
    if (FRAMES.has(marker)) {
      if (size !== undefined) return;
      size = frameSize(segment);
      if (size === undefined) return;
    } else if (!isPlain(marker, segment)) return;
    at = end;
  }
  return undefined;
}
