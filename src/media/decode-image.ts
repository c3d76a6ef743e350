import { readFileSync, statSync } from 'node:fs';
import type { Frame, FrameSize, Size } from '../detect/detector.ts';
import { freeBuffer } from '../free-buffer.ts';
import { DEFAULT_TIMEOUT_MS, explainReadError, type ImageLimits, timeoutSeconds, unreadable } from './media-errors.ts';
import { sharp, useOnce } from './sharp.ts';

/** What shows through transparent pixels: web pages and print are white, so that is what a person sees. */
export const BACKGROUND = '#ffffff';

/**
 * Decodes a picture to RGB at exactly `size`: turned as EXIF says, first frame of an animation, alpha flattened on
 * white, CMYK, grey and 16 bits converted. Never decodes more than it needs where the format allows (JPEG and WebP
 * shrink while they load). Embedded colour profiles are ignored, as the pictures were that the models learned from:
 * honouring them doubles the time and changes no detection.
 *
 * @param path full path of the file
 * @param mime type that {@link probeImage} found
 * @param size width and height of the frame in pixels, of the picture's own aspect ratio as a person sees it
 * @throws AppError UNREADABLE_MEDIA for damaged, cut off or too large pictures, TIMEOUT past `limits.timeoutMs`
 * @throws TransientError for faults of disk, memory or processes
 */
export async function decodeImage(path: string, mime: string, size: FrameSize, limits: ImageLimits): Promise<Frame> {
  try {
    return mime === 'image/bmp' ? await decodeBmp(path, size, limits) : await decodeWithSharp(path, size, limits);
  } catch (error) {
    throw await explainReadError(error, path, limits.signal);
  }
}

/** The whole of a BMP picture at `size`, for sharp, which cannot read BMP. */
export async function decodeBmp(path: string, size: Size, limits: ImageLimits): Promise<Frame> {
  const { readBmpPixels } = await import('./ffmpeg.ts');
  const data = await readBmpPixels(path, size, {
    pixels: limits.pixels,
    timeoutMs: limits.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    signal: limits.signal,
  });
  if (data.length !== size.width * size.height * 3) throw unreadable('The picture is damaged or incomplete.');
  return { data, width: size.width, height: size.height };
}

/** Files up to this size are read at once: libvips would open them anew for each format that it tries. */
const READ_WHOLE_BYTES = 16 * 1024 * 1024;

/** Blocks for as long as the disk takes; threads would cost a small picture more than its decoding. */
const sourceOf = (path: string): string | Buffer =>
  statSync(path).size <= READ_WHOLE_BYTES ? readFileSync(path) : path;

async function decodeWithSharp(path: string, size: FrameSize, limits: ImageLimits): Promise<Frame> {
  const source = sourceOf(path);
  const picture = sharp(source, {
    failOn: 'error',
    limitInputPixels: limits.pixels,
    autoOrient: true,
    ignoreIcc: true,
  })
    .flatten({ background: BACKGROUND })
    .resize(size.width, size.height, { fit: 'fill', kernel: size.kernel ?? 'linear' })
    .toColourspace('srgb')
    .timeout({ seconds: timeoutSeconds(limits) })
    .raw();
  const { data, info } = await useOnce(picture, () => picture.toBuffer({ resolveWithObject: true }));
  if (typeof source !== 'string') freeBuffer(source);
  if (info.channels !== 3) throw new Error(`expected 3 channels, got ${info.channels}`);
  return { data, width: info.width, height: info.height };
}
