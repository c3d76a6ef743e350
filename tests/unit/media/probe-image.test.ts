import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { AppError, TransientError } from '../../../src/errors.ts';
import { readJpegSize } from '../../../src/media/jpeg-header.ts';
import { type ImageHeader, probeImage } from '../../../src/media/probe-image.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';
import { badPictures } from './bad-pictures.ts';
import { makeBmp, makePng } from './make-picture.ts';

const limits = { pixels: 100_000_000 };
const folder = tempDir('probe');

function probeBytes(content: Uint8Array, pixels = limits.pixels): Promise<ImageHeader> {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  return probeImage(path, content.subarray(0, 4100), content.length, { pixels });
}

const outcomeOf = (probe: Promise<ImageHeader>) => probe.catch((error: unknown) => error);

/** An animated WebP of two frames of 1 x 1 on a canvas of any size; the frame's data is one lossless pixel. */
function animatedWebp(width: number, height: number): Buffer {
  const chunk = (type: string, data: number[]) => {
    const header = Buffer.alloc(8);
    header.write(type, 'latin1');
    header.writeUInt32LE(data.length, 4);
    return [...header, ...data, ...(data.length % 2 === 1 ? [0] : [])];
  };
  const u24 = (value: number) => [value & 255, (value >> 8) & 255, value >> 16];
  const pixel = chunk('VP8L', [0x2f, 0, 0, 0, 0, 0x07, 0x10, 0x11, 0x11, 0x88, 0x88, 0xfe, 0x07, 0]);
  const frame = chunk('ANMF', [...u24(0), ...u24(0), ...u24(0), ...u24(0), ...u24(100), 0, ...pixel]);
  const canvas = chunk('VP8X', [2, 0, 0, 0, ...u24(width - 1), ...u24(height - 1)]);
  return Buffer.from(
    chunk('RIFF', [...Buffer.from('WEBP'), ...canvas, ...chunk('ANIM', [0, 0, 0, 0, 0, 0]), ...frame, ...frame]),
  );
}

const JPEG_FOLDERS = ['faces/images', 'coco/images', 'samples', 'bad/image'];

test.skipIf(!requireShared())('the first bytes of a JPEG tell the size that libvips finds in all of it', async () => {
  let compared = 0;
  let told = 0;
  for (const folder of JPEG_FOLDERS.map((name) => sharedPath(`data/${name}`))) {
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.jpg'))) {
      const content = readFileSync(join(folder, name));
      if (content.length === 0) continue;
      const header = await sharp(content, { limitInputPixels: false })
        .metadata()
        .catch(() => undefined);
      if (header?.format !== 'jpeg' || header.width * header.height > limits.pixels) continue;
      const path = join(folder, name);
      const found = await probeImage(path, content.subarray(0, 64 * 1024), content.length, limits);
      const { width, height } = header.autoOrient;
      expect(found, name).toMatchObject({ width, height });
      if (readJpegSize(content.subarray(0, 64 * 1024)) !== undefined) told++;
      compared++;
    }
  }
  expect(compared).toBeGreaterThan(100);
  expect(told).toBeGreaterThan(compared / 2);
});

describe.skipIf(!requireShared())('awkward pictures', () => {
  test.each(badPictures())('$file: $expect', async (picture) => {
    const outcome = await outcomeOf(probeImage(picture.path, picture.head, picture.bytes, limits));
    if (outcome instanceof AppError) {
      expect(picture.expect).not.toBe('accept');
      expect(picture.error_code).toContain(outcome.code);
      expect(outcome.message).toMatch(/^[A-Z].*\.$/);
      expect(outcome.message).not.toMatch(/vips|\/|\\n/i);
    } else {
      expect(picture.at_upload ?? false).toBe(false);
      const { width = expect.any(Number), height = expect.any(Number) } = picture.reference ?? {};
      expect(outcome).toEqual({ mime: expect.any(String), extension: expect.any(String), width, height });
    }
  });

  test.each([
    ['jpg-named.png', 'image/jpeg', 'jpg'],
    ['png-named.jpg', 'image/png', 'png'],
    ['jpg-without-extension', 'image/jpeg', 'jpg'],
    ['polyglot-zip.jpg', 'image/jpeg', 'jpg'],
    ['animated.gif', 'image/gif', 'gif'],
    ['good.tiff', 'image/tiff', 'tiff'],
    ['good.avif', 'image/avif', 'avif'],
    ['good.bmp', 'image/bmp', 'bmp'],
    ['good.webp', 'image/webp', 'webp'],
  ])('%s is %s by its content', async (name, mime, extension) => {
    const picture = badPictures().find(({ file }) => file === `image/${name}`);
    const { head = new Uint8Array(), bytes = 0 } = picture ?? {};
    const header = await probeImage(sharedPath(`data/bad/image/${name}`), head, bytes, limits);
    expect(header).toMatchObject({ mime, extension });
  });

  test('headers that claim gigapixels cost no memory', async () => {
    const bombs = badPictures().filter(({ file }) => file.includes('bomb'));
    const before = process.memoryUsage.rss();
    for (let round = 0; round < 20; round++) {
      await Promise.all(bombs.map(({ path, head, bytes }) => outcomeOf(probeImage(path, head, bytes, limits))));
    }
    expect(bombs.length).toBeGreaterThanOrEqual(5);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
  });
});

test('the canvas of an animation counts, not its frames', async () => {
  const before = process.memoryUsage.rss();
  await expect(probeBytes(animatedWebp(16383, 16383))).rejects.toMatchObject({
    code: 'UNREADABLE_MEDIA',
    message: expect.stringContaining('16383 x 16383'),
  });
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
  expect(await probeBytes(animatedWebp(300, 200))).toMatchObject({ mime: 'image/webp', width: 300, height: 200 });
});

test('the limit of pixels itself is still taken, one row more is not', async () => {
  const png = makePng({
    width: 2,
    height: 3,
    bits: 8,
    colour: 'grey',
    rows: [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  });
  expect(await probeBytes(png, 6)).toEqual({ mime: 'image/png', extension: 'png', width: 2, height: 3 });
  await expect(probeBytes(png, 5)).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA', status: 422 });
  const bmp = makeBmp({ width: 2, height: 3, pixels: Array.from({ length: 6 }, () => [1, 2, 3] as const) });
  expect(await probeBytes(bmp, 6)).toEqual({ mime: 'image/bmp', extension: 'bmp', width: 2, height: 3 });
  await expect(probeBytes(bmp, 5)).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
});

test.each([
  ['an empty file', '', 'UNREADABLE_MEDIA'],
  ['a PNG signature alone', '\x89PNG\r\n\x1a\n', 'UNREADABLE_MEDIA'],
  ['a GIF cut off in its header', 'GIF89a\x05', 'UNREADABLE_MEDIA'],
  ['WebP without any chunk', 'RIFF\x04\0\0\0WEBP', 'UNREADABLE_MEDIA'],
  ['TIFF without any page', 'II*\0\x08\0\0\0', 'UNREADABLE_MEDIA'],
  ['a BMP of garbage', `BM${'\x07'.repeat(14)}\0\0${'\x07'.repeat(60)}`, 'UNREADABLE_MEDIA'],
  ['HEIC', '\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'UNSUPPORTED_MEDIA_TYPE'],
  ['a portable pixmap, which libvips could read', 'P6\n1 1\n255\nabc', 'UNSUPPORTED_MEDIA_TYPE'],
  ['a table of numbers, which libvips could read', '1,2,3\n4,5,6\n', 'UNSUPPORTED_MEDIA_TYPE'],
])('%s is refused', async (_, content, code) => {
  await expect(probeBytes(Buffer.from(content, 'latin1'))).rejects.toMatchObject({ code });
});

test('a JPEG whose size comes later than the bytes at hand is read from its file', async () => {
  const jpeg = await sharp({ create: { width: 30, height: 20, channels: 3, background: '#ccc' } })
    .jpeg()
    .toBuffer();
  const comment = Buffer.concat([Buffer.of(0xff, 0xfe, 0xff, 0xff), Buffer.alloc(0xffff - 2, 0x20)]);
  const late = Buffer.concat([jpeg.subarray(0, 2), comment, comment, jpeg.subarray(2)]);
  const path = join(folder, 'late.jpg');
  writeFileSync(path, late);
  const header = await probeImage(path, late.subarray(0, 65_536), late.length, limits);
  expect(header).toEqual({ mime: 'image/jpeg', extension: 'jpg', width: 30, height: 20 });
});

test('a file that is gone is a fault of storage, not of the picture', async () => {
  const head = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0);
  await expect(probeImage(join(folder, 'gone'), head, 5000, limits)).rejects.toBeInstanceOf(TransientError);
});
