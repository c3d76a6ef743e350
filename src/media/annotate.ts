import { open, rm } from 'node:fs/promises';
import pLimit from 'p-limit';
import type { OverlayOptions } from 'sharp';
import type { Size } from '../detect/detector.ts';
import { fitWithin } from '../detect/letterbox.ts';
import { marksOf } from './annotation-marks.ts';
import { readBmpSize } from './bmp-header.ts';
import type { BoxToDraw } from './boxes-to-draw.ts';
import { BACKGROUND, decodeBmp } from './decode-image.ts';
import { explainReadError, type ImageLimits, timeoutSeconds, tooManyPixels } from './media-errors.ts';
import { annotatedType, type MediaType } from './media-types.ts';
import { createOverlaySheet, type Overlay } from './overlay-sheet.ts';
import { sizeAsSeen } from './probe-image.ts';
import { type Sharp, sharp } from './sharp.ts';

/** `boxes` by falling importance: the first are drawn over the others. */
export type Annotation = { source: string; mime: string; boxes: readonly BoxToDraw[] };

/** Pictures drawn at a time in one process: the pool of threads is also needed for files. */
const AT_A_TIME = 2;
/** Longest side of a picture that libjpeg writes. */
const JPEG_SIDE = 65_500;

const gate = pLimit(AT_A_TIME);

/**
 * Writes a copy of a picture with boxes, labels and points drawn in: PNG for PNG, WebP for WebP, else JPEG; the first
 * frame of an animation, turned as EXIF says, in sRGB, without any metadata; reduced where no JPEG is so long. What it needs of memory hardly grows with
 * the picture: decoding, blending and encoding run line by line in sharp's threads, at most two pictures at a time.
 *
 * @param target full path that is written; gone again when this fails
 * @returns the type of the copy, the same as {@link annotatedType} tells beforehand
 * @throws AppError UNREADABLE_MEDIA for damaged or too large pictures, TIMEOUT past `limits.timeoutMs`
 * @throws TransientError for faults of disk, memory or processes
 */
export function annotateImage(annotation: Annotation, target: string, limits: ImageLimits): Promise<MediaType> {
  return gate(async () => {
    limits.signal?.throwIfAborted();
    try {
      const { picture, size: original, hasAlpha } = await openPicture(annotation, limits);
      const type = annotatedType(annotation.mime);
      const size = drawnSize(original, type.mime);
      if (size !== original) picture.resize(size.width, size.height, { fit: 'fill' });
      const keepAlpha = hasAlpha && type.mime !== 'image/jpeg';
      if (!keepAlpha) picture.flatten({ background: BACKGROUND });
      picture.composite((await paintBoxes(scaleBoxes(annotation.boxes, original, size), size)).map(toComposite));
      if (!keepAlpha) picture.removeAlpha();
      await encode(picture, type.mime)
        .timeout({ seconds: timeoutSeconds(limits) })
        .toFile(target);
      return type;
    } catch (error) {
      await rm(target, { force: true });
      throw await explainReadError(error, annotation.source, limits.signal);
    }
  });
}

/** The size of the copy: the picture's own, smaller where its format knows no such length. */
function drawnSize(size: Size, mime: string): Size {
  const longest = Math.max(size.width, size.height);
  if (mime !== 'image/jpeg' || longest <= JPEG_SIDE) return size;
  return fitWithin(size, { width: JPEG_SIDE, height: JPEG_SIDE });
}

function scaleBoxes(boxes: readonly BoxToDraw[], from: Size, to: Size): readonly BoxToDraw[] {
  if (from === to) return boxes;
  const x = (value: number) => Math.round((value * to.width) / from.width);
  const y = (value: number) => Math.round((value * to.height) / from.height);
  return boxes.map(({ bbox, points, ...rest }) => ({
    ...rest,
    bbox: { x: x(bbox.x), y: y(bbox.y), width: Math.max(1, x(bbox.width)), height: Math.max(1, y(bbox.height)) },
    ...(points === undefined ? {} : { points: points.map((point) => ({ x: x(point.x), y: y(point.y) })) }),
  }));
}

type OpenPicture = { picture: Sharp; size: Size; hasAlpha: boolean };

async function openPicture({ source, mime }: Annotation, limits: ImageLimits): Promise<OpenPicture> {
  if (mime === 'image/bmp') return openBmp(source, limits);
  // Whatever was good enough to be looked at is good enough to be shown.
  const picture = sharp(source, { failOn: 'none', limitInputPixels: limits.pixels, autoOrient: true });
  const header = await picture.metadata();
  return { picture, size: sizeAsSeen(header), hasAlpha: header.hasAlpha };
}

async function openBmp(source: string, limits: ImageLimits): Promise<OpenPicture> {
  const file = await open(source);
  const head = new Uint8Array(64);
  let size: Size;
  try {
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    size = readBmpSize(head.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
  if (size.width * size.height > limits.pixels) throw tooManyPixels(size, limits.pixels);
  const { data } = await decodeBmp(source, size, limits);
  return { picture: sharp(data, { raw: { ...size, channels: 3 } }), size, hasAlpha: false };
}

async function paintBoxes(boxes: readonly BoxToDraw[], size: Size): Promise<Overlay[]> {
  const sheet = createOverlaySheet(size);
  for (const [index, box] of boxes.entries()) {
    const { outline, label } = marksOf(box, size);
    const isRoom = sheet.add(outline, -index) && sheet.add(label, boxes.length - index);
    if (!isRoom) break;
  }
  return sheet.paint();
}

function toComposite({ data, left, top, width, height }: Overlay): OverlayOptions {
  return { input: Buffer.from(data.buffer), raw: { width, height, channels: 4 }, left, top };
}

function encode(picture: Sharp, mime: string): Sharp {
  if (mime === 'image/png') return picture.png();
  if (mime === 'image/webp') return picture.webp({ quality: 88, effort: 2 });
  // Optimised Huffman tables need the whole picture in memory; full chroma keeps thin lines and letters clear.
  return picture.jpeg({ quality: 88, optimiseCoding: false, chromaSubsampling: '4:4:4' });
}
