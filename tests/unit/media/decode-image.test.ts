import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getHeapSpaceStatistics } from 'node:v8';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { AppError, TransientError } from '../../../src/errors.ts';
import { decodeImage } from '../../../src/media/decode-image.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';
import { waitFor } from '../../support/wait-for.ts';
import { badPictures } from './bad-pictures.ts';
import { makeBmp, makePng } from './make-picture.ts';

const limits = { pixels: 100_000_000 };
const folder = tempDir('decode');
const picturePath = (name: string) => sharedPath(`data/bad/image/${name}`);

async function decodeBytes(content: Uint8Array, mime: string, width: number, height: number): Promise<number[]> {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  const frame = await decodeImage(path, mime, { width, height }, limits);
  expect([frame.width, frame.height]).toEqual([width, height]);
  return [...frame.data];
}

function meanDifference(one: Uint8Array, other: Uint8Array): number {
  expect(one.length).toBe(other.length);
  let sum = 0;
  for (const [index, value] of one.entries()) sum += Math.abs(value - (other[index] ?? 0));
  return sum / one.length;
}

/** Command lines of processes that mention `text`. */
function processesAbout(text: string): string[] {
  return readdirSync('/proc').flatMap((entry) => {
    try {
      const command = readFileSync(join('/proc', entry, 'cmdline'), 'utf8').replaceAll('\0', ' ');
      return /^\d+$/.test(entry) && command.includes(text) ? [command] : [];
    } catch {
      return [];
    }
  });
}

describe('pixels known beforehand', () => {
  test('RGB is kept as it is', async () => {
    const rows = [
      [255, 0, 0, 0, 255, 0],
      [0, 0, 255, 12, 34, 56],
    ];
    const png = makePng({ width: 2, height: 2, bits: 8, colour: 'rgb', rows });
    expect(await decodeBytes(png, 'image/png', 2, 2)).toEqual(rows.flat());
  });

  test('grey becomes three equal channels', async () => {
    const png = makePng({ width: 3, height: 1, bits: 8, colour: 'grey', rows: [[0, 100, 255]] });
    expect(await decodeBytes(png, 'image/png', 3, 1)).toEqual([0, 0, 0, 100, 100, 100, 255, 255, 255]);
  });

  test('one bit a pixel becomes black and white', async () => {
    const png = makePng({ width: 4, height: 1, bits: 1, colour: 'grey', rows: [[0b0110_0000]] });
    expect(await decodeBytes(png, 'image/png', 4, 1)).toEqual([0, 0, 0, ...Array(6).fill(255), 0, 0, 0]);
  });

  test('16 bits a channel become the upper eight', async () => {
    const colour = makePng({ width: 1, height: 1, bits: 16, colour: 'rgb', rows: [[0, 0, 0x80, 0x80, 0xff, 0xff]] });
    expect(await decodeBytes(colour, 'image/png', 1, 1)).toEqual([0, 128, 255]);
    const grey = makePng({ width: 2, height: 1, bits: 16, colour: 'grey', rows: [[0x40, 0x40, 0xff, 0xff]] });
    expect(await decodeBytes(grey, 'image/png', 2, 1)).toEqual([64, 64, 64, 255, 255, 255]);
  });

  test('transparency shows white', async () => {
    const rows = [[200, 100, 0, 255, 200, 100, 0, 0, 200, 100, 0, 51]];
    const png = makePng({ width: 3, height: 1, bits: 8, colour: 'rgba', rows });
    const fifth = (value: number) => Math.round(value / 5 + (255 * 4) / 5);
    const expected = [200, 100, 0, 255, 255, 255, fifth(200), fifth(100), fifth(0)];
    const decoded = await decodeBytes(png, 'image/png', 3, 1);
    for (const [index, value] of expected.entries())
      expect(Math.abs((decoded[index] ?? 0) - value)).toBeLessThanOrEqual(1);
  });

  test('grey with alpha, and a transparent entry of a palette', async () => {
    const grey = makePng({ width: 2, height: 1, bits: 8, colour: 'greyAlpha', rows: [[10, 255, 10, 0]] });
    expect(await decodeBytes(grey, 'image/png', 2, 1)).toEqual([10, 10, 10, 255, 255, 255]);
    const palette = makePng({
      width: 2,
      height: 1,
      bits: 8,
      colour: 'palette',
      palette: [1, 2, 3, 40, 50, 60],
      transparency: [0],
      rows: [[0, 1]],
    });
    expect(await decodeBytes(palette, 'image/png', 2, 1)).toEqual([255, 255, 255, 40, 50, 60]);
  });

  test('a single pixel fills whatever is asked for', async () => {
    const png = makePng({ width: 1, height: 1, bits: 8, colour: 'rgb', rows: [[9, 8, 7]] });
    expect(await decodeBytes(png, 'image/png', 40, 30)).toEqual(Array(1200).fill([9, 8, 7]).flat());
  });

  test('a gradient that is enlarged stays one', async () => {
    const png = makePng({ width: 2, height: 1, bits: 8, colour: 'grey', rows: [[0, 200]] });
    const decoded = await decodeBytes(png, 'image/png', 8, 1);
    const greys = decoded.filter((_, index) => index % 3 === 0);
    expect(greys).toEqual(greys.toSorted((one, other) => one - other));
    expect([greys[0], greys[7]]).toEqual([0, 200]);
  });

  test('a picture made smaller is the mean of what it was', async () => {
    const rows = Array.from({ length: 64 }, (_, y) =>
      Array.from({ length: 64 }, (_, x) => (x % 2 === y % 2 ? 0 : 240)),
    );
    const png = makePng({ width: 64, height: 64, bits: 8, colour: 'grey', rows });
    for (const value of await decodeBytes(png, 'image/png', 8, 8)) expect(Math.abs(value - 120)).toBeLessThanOrEqual(6);
  });
});

describe('BMP', () => {
  const colours = Array.from({ length: 35 }, (_, index): [number, number, number] => [
    (index * 37) % 256,
    (index * 91) % 256,
    255 - index,
  ]);
  const picture = { pixels: colours, width: 7, height: 5 };

  test.each([
    ['stored from the bottom', makeBmp(picture)],
    ['stored from the top', makeBmp({ ...picture, topDown: true })],
    ['with an OS/2 header', makeBmp({ ...picture, infoHeaderBytes: 12 })],
    ['with a version 5 header', makeBmp({ ...picture, infoHeaderBytes: 124 })],
    ['with 32 bits a pixel, the last byte unused', makeBmp({ ...picture, bitsPerPixel: 32 })],
    ['with rubbish behind it', Buffer.concat([makeBmp(picture), Buffer.alloc(3000, 'x')])],
  ])('%s: exact pixels', async (_, content) => {
    expect(await decodeBytes(content, 'image/bmp', 7, 5)).toEqual(colours.flat());
  });

  test('is scaled on the way', async () => {
    const even = makeBmp({ width: 40, height: 20, pixels: Array(800).fill([200, 30, 90]) });
    const decoded = await decodeBytes(even, 'image/bmp', 13, 7);
    const expected = Array(13 * 7)
      .fill([200, 30, 90])
      .flat();
    for (const [index, value] of expected.entries())
      expect(Math.abs((decoded[index] ?? 0) - value)).toBeLessThanOrEqual(2);
  });

  test.each([
    ['cut off', makeBmp(picture).subarray(0, 100)],
    ['a header alone', makeBmp(picture).subarray(0, 54)],
  ])('%s is refused', async (_, content) => {
    await expect(decodeBytes(content, 'image/bmp', 7, 5)).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
  });

  test('more pixels than the limit are refused by ffmpeg as well', async () => {
    const path = join(folder, 'large.bmp');
    writeFileSync(path, makeBmp({ width: 40, height: 20, pixels: Array(800).fill([1, 2, 3]) }));
    const size = { width: 4, height: 2 };
    await expect(decodeImage(path, 'image/bmp', size, { pixels: 799 })).rejects.toMatchObject({
      code: 'UNREADABLE_MEDIA',
    });
  });

  test.each([
    ['an abort', 'aborted'],
    ['the time limit', 'late'],
  ])('%s ends ffmpeg', async (_, name) => {
    const pipe = join(folder, `${name}.bmp`);
    execFileSync('mkfifo', [pipe]);
    const controller = new AbortController();
    const timeoutMs = name === 'late' ? 700 : 60_000;
    const decoding = decodeImage(
      pipe,
      'image/bmp',
      { width: 7, height: 5 },
      {
        ...limits,
        timeoutMs,
        signal: controller.signal,
      },
    );
    const outcome = decoding.catch((error: unknown) => error);
    await waitFor('ffmpeg', () => processesAbout(pipe).length > 0);
    const reason = new Error('cancelled');
    if (name === 'aborted') controller.abort(reason);
    const error = await outcome;
    if (name === 'aborted') expect(error).toBe(reason);
    else expect(error).toMatchObject({ code: 'TIMEOUT' });
    expect(processesAbout(pipe)).toEqual([]);
  });
});

describe.skipIf(!requireShared())('files as they come', () => {
  const asSeen = { width: 320, height: 280 };

  test.each(badPictures().filter(({ reference }) => reference !== undefined))('$file decodes', async (picture) => {
    const { width = 1, height = 1 } = picture.reference ?? {};
    const scale = Math.min(1, 416 / Math.max(width, height));
    const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
    const mime = picture.file.endsWith('.bmp') ? 'image/bmp' : 'image/any';
    const frame = await decodeImage(picture.path, mime, size, limits);
    expect({ width: frame.width, height: frame.height }).toEqual(size);
    expect(frame.data).toHaveLength(size.width * size.height * 3);
  });

  test.each([
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((orientation) => [`exif-orientation-${orientation}.jpg`, 3] as const),
    ['exif-orientation.png', 3] as const,
    ['exif-orientation.webp', 3] as const,
    ['progressive.jpg', 1] as const,
    ['exif-huge.jpg', 1] as const,
    ['mpo-named.jpg', 3] as const,
    ['good.tiff', 3] as const,
    ['good.avif', 3] as const,
    ['good.webp', 3] as const,
    ['cmyk.jpg', 20] as const,
  ])('%s looks like the plain JPEG', async (name, tolerance) => {
    const reference = await sharp(picturePath('good.jpg')).raw().toBuffer();
    const frame = await decodeImage(picturePath(name), 'image/any', asSeen, limits);
    expect(meanDifference(frame.data, reference)).toBeLessThan(tolerance);
  });

  test('the first frame of an animation is taken', async () => {
    const size = { width: 160, height: 140 };
    const first = await sharp(picturePath('animated.gif'), { page: 0 }).removeAlpha().raw().toBuffer();
    const last = await sharp(picturePath('animated.gif'), { page: 3 }).removeAlpha().raw().toBuffer();
    const frame = await decodeImage(picturePath('animated.gif'), 'image/gif', size, limits);
    expect(meanDifference(frame.data, first)).toBeLessThan(1);
    expect(meanDifference(first, last)).toBeGreaterThan(2);
  });

  test('shrinking while it loads keeps every pixel in its place', async () => {
    const path = sharedPath('data/samples/dog.jpg');
    const { data, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    const [width, height] = [info.width / 4, info.height / 4];
    const means = new Uint8Array(width * height * 3);
    for (let at = 0; at < means.length; at++) {
      const [x, y, channel] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width), at % 3];
      let sum = 0;
      for (let dy = 0; dy < 4; dy++) {
        for (let dx = 0; dx < 4; dx++) sum += data[((4 * y + dy) * info.width + 4 * x + dx) * 3 + channel] ?? 0;
      }
      means[at] = sum / 16;
    }
    const frame = await decodeImage(path, 'image/jpeg', { width, height }, limits);
    const pixelToTheRight = means.map((_, index) => means[index + 3] ?? 0);
    expect(meanDifference(frame.data, means)).toBeLessThan(3);
    expect(meanDifference(pixelToTheRight, means)).toBeGreaterThan(6);
  });

  test.each([
    'truncated-half.jpg',
    'truncated-half.png',
    'truncated-header.jpg',
    'only-magic.png',
    'text.jpg',
    'svg.svg',
  ])('%s is refused without a word of libvips', async (name) => {
    const error = await decodeImage(picturePath(name), 'image/any', asSeen, limits).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code: 'UNREADABLE_MEDIA', message: 'The picture is damaged or incomplete.' });
  });

  test('a picture above the limit of pixels is refused', async () => {
    const size = { width: 60, height: 40 };
    await expect(
      decodeImage(picturePath('big-but-fine-6000x4000.jpg'), 'image/jpeg', size, { pixels: 23_999_999 }),
    ).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
  });
});

test.each(['image/jpeg', 'image/bmp'])('a missing file (%s) is a fault of storage', async (mime) => {
  const decoding = decodeImage(join(folder, 'gone'), mime, { width: 7, height: 5 }, limits);
  await expect(decoding).rejects.toBeInstanceOf(TransientError);
});

test('a picture that is enlarged by repeating its pixels has no others', async () => {
  const path = join(folder, 'repeated');
  writeFileSync(path, makePng({ width: 2, height: 1, bits: 8, colour: 'grey', rows: [[10, 250]] }));
  const { data } = await decodeImage(path, 'image/png', { width: 4, height: 2, kernel: 'nearest' }, limits);
  const row = [10, 10, 250, 250].flatMap((value) => [value, value, value]);
  expect([...data]).toEqual([...row, ...row]);
});

test('a picture leaves next to nothing that only a full collection frees', async () => {
  const path = join(folder, 'small.jpg');
  await sharp({ create: { width: 64, height: 48, channels: 3, background: '#369' } }).toFile(path);
  const oldBytes = () =>
    getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  const decode = async (times: number) => {
    for (let time = 0; time < times; time++) await decodeImage(path, 'image/jpeg', { width: 64, height: 48 }, limits);
  };
  await decode(300);
  let [left, last] = [0, oldBytes()];
  for (let round = 0; round < 40; round++) {
    await decode(20);
    const now = oldBytes();
    left += Math.max(0, now - last);
    last = now;
  }
  expect(left / 800).toBeLessThan(1500);
});
