import type { Size } from '../detect/detector.ts';
import { unreadable } from './media-errors.ts';

const FILE_HEADER_BYTES = 14;
const CORE_HEADER_BYTES = 12;
/** Lengths of the info headers that ffmpeg decodes: Windows 3 with and without masks, OS/2 2, version 4 and 5. */
const INFO_HEADER_BYTES = [40, 56, 64, 108, 124];
const BITS_PER_PIXEL = [1, 4, 8, 16, 24, 32];
/** BI_RGB, BI_RLE8, BI_RLE4, BI_BITFIELDS; above these it holds a JPEG or PNG for printers. */
const LAST_COMPRESSION = 3;

/**
 * Size of a BMP picture in pixels from its first bytes (54 are enough). Rows may be stored from the top (negative
 * height) or from the bottom; a person sees the same.
 *
 * @throws AppError UNREADABLE_MEDIA for a header that makes no sense or a variant that cannot be decoded
 */
export function readBmpSize(head: Uint8Array): Size {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length < FILE_HEADER_BYTES + CORE_HEADER_BYTES)
    throw unreadable('The BMP picture is cut off in its header.');
  const headerBytes = view.getUint32(14, true);
  if (headerBytes === CORE_HEADER_BYTES) {
    return checked({ width: view.getUint16(18, true), height: view.getUint16(20, true) }, view.getUint16(24, true), 0);
  }
  if (!INFO_HEADER_BYTES.includes(headerBytes)) throw unreadable('This kind of BMP picture cannot be read.');
  if (head.length < FILE_HEADER_BYTES + 40) throw unreadable('The BMP picture is cut off in its header.');
  const size = { width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
  return checked(size, view.getUint16(28, true), view.getUint32(30, true));
}

function checked(size: Size, bitsPerPixel: number, compression: number): Size {
  if (size.width <= 0 || size.height <= 0) throw unreadable('The BMP picture has no pixels.');
  if (!BITS_PER_PIXEL.includes(bitsPerPixel) || compression > LAST_COMPRESSION) {
    throw unreadable('This kind of BMP picture cannot be read.');
  }
  return size;
}
