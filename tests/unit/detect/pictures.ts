import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import type {
  Detection,
  DetectOptions,
  Detector,
  DetectorSettings,
  Frame,
  Size,
} from '../../../src/detect/detector.ts';
import type { ReadyModel } from '../../../src/models/catalog.ts';
import { readManifest } from '../../../src/models/manifest.ts';
import { CASCADE_DIRS } from '../../../src/models/pull.ts';
import { sharedPath } from '../../support/shared.ts';

export const MANIFEST_PATH = resolve(import.meta.dirname, '../../../models/manifest.json');

export const SETTINGS: DetectorSettings = { executionProviders: ['cpu'], haarLongestSide: 1920 };

/** A model of the shipped manifest, read from where the shared material or the system has it. */
export async function readyModel(name: string): Promise<ReadyModel> {
  const entry = (await readManifest(MANIFEST_PATH)).models.find((model) => model.name === name);
  if (entry === undefined) throw new Error(`no model ${name}`);
  const path = [sharedPath('models'), ...CASCADE_DIRS].map((dir) => join(dir, entry.file)).find(existsSync);
  if (path === undefined) throw new Error(`no file ${entry.file}`);
  return { ...entry, path };
}

export function optionsOf({ defaults }: ReadyModel, changes: Partial<DetectOptions> = {}): DetectOptions {
  return { ...defaults, classes: undefined, maxDetections: 100, inputSize: undefined, ...changes };
}

export async function sizeOf(path: string): Promise<Size> {
  const { width, height } = await sharp(path).metadata();
  return { width, height };
}

/** A picture as RGB at exactly the given size. */
export async function frameOf(path: string, size: Size): Promise<Frame> {
  const data = await sharp(path)
    .resize(size.width, size.height, { fit: 'fill', kernel: 'linear' })
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer();
  return { data, ...size };
}

export function plainFrame({ width, height }: Size, value = 114): Frame {
  return { data: new Uint8Array(width * height * 3).fill(value), width, height };
}

/** Detects in a file; the boxes are in pixels of the file. */
export async function detectIn(detector: Detector, path: string, options: DetectOptions): Promise<Detection[]> {
  const picture = await sizeOf(path);
  const frame = await frameOf(path, detector.frameSize(picture, options));
  const { detections } = await detector.detect(frame, options);
  const scaleX = picture.width / frame.width;
  const scaleY = picture.height / frame.height;
  return detections.map((detection) => ({
    ...detection,
    x: detection.x * scaleX,
    y: detection.y * scaleY,
    width: detection.width * scaleX,
    height: detection.height * scaleY,
    ...(detection.landmarks && {
      landmarks: Object.fromEntries(
        Object.entries(detection.landmarks).map(([name, [x, y]]) => [name, [x * scaleX, y * scaleY]]),
      ) as Detection['landmarks'] & object,
    }),
  }));
}

/** What every detection must be: finite, inside the frame, with an area and a label. */
export function soundIn(frame: Size, { x, y, width, height, confidence, label }: Detection): boolean {
  const inside = x >= 0 && y >= 0 && width > 0 && height > 0;
  const within = x + width <= frame.width + 1e-6 && y + height <= frame.height + 1e-6;
  return inside && within && confidence >= 0 && confidence <= 1 && label !== '';
}
