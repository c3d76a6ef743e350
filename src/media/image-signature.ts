import type { ImageMime } from './media-types.ts';

function hasBytes(head: Uint8Array, offset: number, bytes: readonly number[]): boolean {
  return bytes.every((byte, index) => head[offset + index] === byte);
}

function text(head: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...head.subarray(start, end));
}

/** AVIF by the brands of its file type box; HEIC has the same box and other brands. */
function isAvif(head: Uint8Array): boolean {
  if (head.length < 16 || text(head, 4, 8) !== 'ftyp') return false;
  const boxEnd = Math.min(new DataView(head.buffer, head.byteOffset, head.byteLength).getUint32(0), head.length, 256);
  const brands = [text(head, 8, 12)];
  for (let at = 16; at + 4 <= boxEnd; at += 4) brands.push(text(head, at, at + 4));
  return brands.includes('avif') || brands.includes('avis');
}

/** "BM" is too little to go by: text may begin so. Its info header is at most some hundred bytes long. */
function isBmp(head: Uint8Array): boolean {
  if (text(head, 0, 2) !== 'BM') return false;
  return head.length < 18 || (head[16] === 0 && head[17] === 0);
}

function isTiff(head: Uint8Array): boolean {
  const order = text(head, 0, 2);
  if (order === 'II') return (head[2] === 42 || head[2] === 43) && head[3] === 0;
  return order === 'MM' && head[2] === 0 && (head[3] === 42 || head[3] === 43);
}

/**
 * The picture format that a file claims to be by its first bytes (16 are enough for all but AVIF), undefined for
 * everything else. Says nothing on whether the rest is whole.
 */
export function imageMimeOf(head: Uint8Array): ImageMime | undefined {
  if (hasBytes(head, 0, [0xff, 0xd8, 0xff])) return 'image/jpeg';
  if (hasBytes(head, 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return 'image/png';
  const start = text(head, 0, 6);
  if (start === 'GIF87a' || start === 'GIF89a') return 'image/gif';
  if (start.startsWith('RIFF') && text(head, 8, 12) === 'WEBP') return 'image/webp';
  if (isTiff(head)) return 'image/tiff';
  if (isBmp(head)) return 'image/bmp';
  if (isAvif(head)) return 'image/avif';
  return undefined;
}
