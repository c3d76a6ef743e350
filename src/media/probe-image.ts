import type { Metadata } from 'sharp';
import type { Size } from '../detect/detector.ts';
import { AppError } from '../errors.ts';
import { readBmpSize } from './bmp-header.ts';
import { imageMimeOf } from './image-signature.ts';
import { readJpegSize } from './jpeg-header.ts';
import { explainReadError, type ImageLimits, tooManyPixels, unreadable } from './media-errors.ts';
import { type ImageMime, imageExtension } from './media-types.ts';
import { sharp, useOnce } from './sharp.ts';

/** Type and size of a picture; width and height in pixels as a person sees it, the first page of animated files. */
export type ImageHeader = { mime: ImageMime; extension: string; width: number; height: number };

const notAPicture = () =>
  new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    'The file is not a picture of a supported type: JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP.',
  );

/**
 * Reads type and size of a picture from its header, decoding nothing. The content decides, never the name.
 *
 * @param head the first bytes of the file, at least 4100 or all of a shorter one; the more, the less is read anew
 * @param bytes size of the file
 * @param limits `pixels`: width x height, also of the canvas of an animation, that is still taken
 * @throws AppError UNSUPPORTED_MEDIA_TYPE for anything but JPEG, PNG, WebP, GIF, TIFF, AVIF and BMP
 * @throws AppError UNREADABLE_MEDIA for an empty file, a broken header or too many pixels
 * @throws TransientError where the file cannot be read
 */
export async function probeImage(
  path: string,
  head: Uint8Array,
  bytes: number,
  limits: Pick<ImageLimits, 'pixels'>,
): Promise<ImageHeader> {
  if (head.length === 0) throw unreadable('The file is empty.');
  const mime = imageMimeOf(head);
  if (mime === undefined) throw notAPicture();
  if (mime === 'image/gif') checkSize(gifCanvas(head), limits.pixels);
  const size = sizeFromBytes(head, mime) ?? (await readSize(path, head, bytes, mime));
  checkSize(size, limits.pixels);
  return { mime, extension: imageExtension(mime), ...size };
}

function checkSize(size: Size, pixels: number): void {
  if (size.width * size.height > pixels) throw tooManyPixels(size, pixels);
}

/** libvips takes the extent of the frames where the canvas is unlikely large; browsers take the canvas. */
function gifCanvas(head: Uint8Array): Size {
  if (head.length < 10) throw unreadable('The GIF picture is cut off in its header.');
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

/**
 * The size, where the first bytes alone tell it for certain. libvips costs a sixth of all that the web process does for
 * a JPEG; it is left those of which there is more to know, such as which way is up.
 *
 * @throws AppError UNREADABLE_MEDIA for a broken header of a BMP
 */
function sizeFromBytes(head: Uint8Array, mime: ImageMime): Size | undefined {
  if (mime === 'image/bmp') return readBmpSize(head);
  return mime === 'image/jpeg' ? readJpegSize(head) : undefined;
}

function readHeader(source: string | Uint8Array): Promise<Metadata> {
  const picture = sharp(source, { limitInputPixels: false });
  return useOnce(picture, () => picture.metadata());
}

/**
 * libvips opens a file once for each format that it tries; bytes at hand cost it nothing. Of a JPEG the first ones will
 * do, unless more than usual stands before its size; other formats are read to their end.
 */
async function headerFrom(path: string, head: Uint8Array, bytes: number, mime: ImageMime): Promise<Metadata> {
  if (head.length === bytes) return readHeader(head);
  if (mime !== 'image/jpeg') return readHeader(path);
  return readHeader(head).catch(() => readHeader(path));
}

async function readSize(path: string, head: Uint8Array, bytes: number, mime: ImageMime): Promise<Size> {
  let header: Metadata;
  try {
    header = await headerFrom(path, head, bytes, mime);
  } catch (error) {
    throw await explainReadError(error, path);
  }
  if (header.compression === 'hevc') throw notAPicture();
  if (header.mediaType !== mime) throw unreadable('The picture is damaged in its header.');
  if (header.width < 1 || header.height < 1) throw unreadable('The picture has no pixels.');
  return sizeAsSeen(header);
}

/** Width and height after the turn that EXIF asks for. */
export function sizeAsSeen({ width, height, orientation = 1 }: Metadata): Size {
  return orientation >= 5 && orientation <= 8 ? { width: height, height: width } : { width, height };
}
