import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { TransientError } from '../../../src/errors.ts';
import { annotateImage } from '../../../src/media/annotate.ts';
import type { BoxToDraw } from '../../../src/media/boxes-to-draw.ts';
import { GLYPH_ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, glyphOf } from '../../../src/media/font.ts';
import { annotatedType } from '../../../src/media/media-types.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';
import { badPictures } from './bad-pictures.ts';
import { makeBmp, makePng } from './make-picture.ts';

const limits = { pixels: 100_000_000 };
const folder = tempDir('annotate');
const GREY = 119;
const GREEN = [0x22, 0xdd, 0x55];
const BLACK = [0, 0, 0];

type Picture = { width: number; height: number; channels: number; at(x: number, y: number): number[] };

async function readPicture(path: string): Promise<Picture> {
  const { data, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  return {
    width,
    height,
    channels,
    at: (x, y) => [...data.subarray((y * width + x) * channels, (y * width + x) * channels + channels)],
  };
}

function plainPng(width: number, height: number): string {
  const path = join(folder, `plain-${width}x${height}.png`);
  const row = Array(width * 3).fill(GREY);
  writeFileSync(path, makePng({ width, height, bits: 8, colour: 'rgb', rows: Array(height).fill(row) }));
  return path;
}

async function annotate(source: string, mime: string, boxes: BoxToDraw[]): Promise<Picture> {
  const target = join(folder, 'out');
  expect(await annotateImage({ source, mime, boxes }, target, limits)).toEqual(annotatedType(mime));
  return readPicture(target);
}

const face = (x: number, y: number, width: number, height: number, text = 'face 1 98%'): BoxToDraw => ({
  bbox: { x, y, width, height },
  text,
  group: 0,
});

/** Whether the font's letters stand at a place, every font pixel `scale` pixels wide and high. */
function expectText(picture: Picture, text: string, left: number, top: number, scale: number): void {
  for (const [index, character] of Array.from(text).entries()) {
    for (let y = 0; y < GLYPH_HEIGHT * scale; y++) {
      for (let x = 0; x < GLYPH_WIDTH * scale; x++) {
        const bits = glyphOf(character)[Math.floor(y / scale)] ?? 0;
        const isInk = ((bits >> (GLYPH_WIDTH - 1 - Math.floor(x / scale))) & 1) === 1;
        const colour = picture.at(left + index * GLYPH_ADVANCE * scale + x, top + y);
        expect(colour, `${character} at ${x},${y}`).toEqual(isInk ? BLACK : GREEN);
      }
    }
  }
}

describe('what is drawn', () => {
  test('the edges of a box lie on its outermost pixels, all else is as it was', async () => {
    const picture = await annotate(plainPng(400, 300), 'image/png', [face(100, 120, 90, 60, '')]);
    for (let x = 0; x < 400; x++) {
      for (let y = 0; y < 300; y++) {
        const isInside = x >= 100 && x < 190 && y >= 120 && y < 180;
        const isCore = x >= 102 && x < 188 && y >= 122 && y < 178;
        expect(picture.at(x, y), `${x},${y}`).toEqual(isInside && !isCore ? GREEN : [GREY, GREY, GREY]);
      }
    }
  });

  test.each([
    [320, 240, 1],
    [800, 600, 2],
    [1920, 1080, 3],
  ])('in %i x %i the label stands above the box in letters of %i pixels', async (width, height, scale) => {
    const [x, y] = [width / 4, height / 2];
    const picture = await annotate(plainPng(width, height), 'image/png', [face(x, y, 60, 50, 'Dog gq 87%')]);
    const top = y - 12 * scale;
    expectText(picture, 'Dog gq 87%', x + 2 * scale, top + 2 * scale, scale);
    expect(picture.at(x, top)).toEqual(GREEN);
    expect(picture.at(x, top - 1)).toEqual([GREY, GREY, GREY]);
  });

  test('at the upper edge the label moves into the box, at the right edge to the left', async () => {
    const picture = await annotate(plainPng(400, 300), 'image/png', [face(370, 5, 30, 60, 'face 1 98%')]);
    const left = 400 - (10 * 6 - 1 + 4);
    expectText(picture, 'face 1 98%', left + 2, 5 + 2, 1);
  });

  test('characters without a glyph are drawn as boxes, however they are coded', async () => {
    const picture = await annotate(plainPng(400, 300), 'image/png', [face(50, 100, 90, 60, 'ö😀\n')]);
    const box = [31, 17, 17, 17, 17, 17, 31, 0, 0];
    expect(['ö', '😀', '\n'].map((character) => [...glyphOf(character)])).toEqual([box, box, box]);
    expectText(picture, 'ö😀\n', 52, 90, 1);
    expect(picture.at(50 + 4 + 3 * 6 - 2, 90)).toEqual(GREEN);
    expect(picture.at(50 + 4 + 3 * 6 - 1, 90)).toEqual([GREY, GREY, GREY]);
  });

  test('points are dots of the colour of the box with a dark rim', async () => {
    const box = { ...face(100, 100, 200, 180, ''), points: [{ x: 200, y: 200 }] };
    const picture = await annotate(plainPng(400, 300), 'image/png', [box]);
    expect(picture.at(200, 200)).toEqual(GREEN);
    const row = Array.from({ length: 21 }, (_, index) => picture.at(190 + index, 200));
    const dark = row.flatMap((colour, index) => (String(colour) === String(BLACK) ? [index - 10] : []));
    expect(dark).toEqual([-3, 3]);
    expect(row[0]).toEqual([GREY, GREY, GREY]);
  });

  test('the first box covers the others, labels cover edges', async () => {
    const second = { ...face(100, 100, 100, 80, ''), group: 1 };
    const picture = await annotate(plainPng(400, 300), 'image/png', [face(100, 100, 100, 80, ''), second]);
    expect(picture.at(100, 140)).toEqual(GREEN);
    const crossed = await annotate(plainPng(400, 300), 'image/png', [
      { ...face(105, 60, 20, 200, ''), group: 1 },
      face(100, 100, 100, 80, 'dog 87%'),
    ]);
    expectText(crossed, 'dog 87%', 102, 90, 1);
    expect(crossed.at(105, 200)).toEqual([0x99, 0, 0xff]);
  });

  test.each([
    ['hangs over the edges', { x: -20, y: -20, width: 60, height: 60 }],
    ['is larger than the picture', { x: -5, y: -5, width: 500, height: 400 }],
    ['is a single pixel', { x: 399, y: 299, width: 1, height: 1 }],
    ['is outside', { x: 400, y: 300, width: 10, height: 10 }],
    ['is empty', { x: 10, y: 10, width: 0, height: 0 }],
  ])('a box that %s does no harm', async (_, bbox) => {
    const box: BoxToDraw = {
      bbox,
      text: 'face 1 98%',
      group: 3,
      points: [
        { x: 399, y: 299 },
        { x: 500, y: -9 },
      ],
    };
    expect(await annotate(plainPng(400, 300), 'image/png', [box])).toMatchObject({ width: 400, height: 300 });
  });

  test('a thousand boxes are drawn to the last', async () => {
    const boxes = Array.from(
      { length: 1000 },
      (_, index): BoxToDraw => ({
        bbox: { x: (index % 40) * 10, y: Math.floor(index / 40) * 12, width: 9, height: 11 },
        text: '',
        group: 0,
      }),
    );
    const picture = await annotate(plainPng(400, 300), 'image/png', boxes);
    for (const { bbox } of boxes) expect(picture.at(bbox.x, bbox.y)).toEqual(GREEN);
    expect(picture.at(9, 11)).toEqual([GREY, GREY, GREY]);
  });

  test.each([
    [1, 1],
    [3, 2],
    [20, 15],
    [2, 700],
    [700, 2],
  ])('%i x %i: too small for a label, not for a box', async (width, height) => {
    const picture = await annotate(plainPng(width, height), 'image/png', [face(0, 0, width, height)]);
    expect(picture.at(0, 0)).toEqual(GREEN);
    expect(picture.at(width - 1, height - 1)).toEqual(GREEN);
  });

  test('a copy that no JPEG could be is reduced, with its boxes', async () => {
    const path = join(folder, 'long.tiff');
    const data = Buffer.alloc(131_000 * 40 * 3, GREY);
    await sharp(data, { raw: { width: 131_000, height: 40, channels: 3 } })
      .tiff({ compression: 'lzw' })
      .toFile(path);
    const picture = await annotate(path, 'image/tiff', [face(100_000, 0, 10_000, 40, '')]);
    expect([picture.width, picture.height]).toEqual([65_500, 20]);
    const isGreen = (x: number) => Math.abs((picture.at(x, 10)[1] ?? 0) - 0xdd) < 24;
    expect([49_990, 50_001, 52_500, 54_997, 55_010].map(isGreen)).toEqual([false, true, false, true, false]);
  });

  test('a label that is too long is cut at the edge of the picture', async () => {
    const picture = await annotate(plainPng(64, 48), 'image/png', [face(20, 20, 30, 20, 'hippopotamus 87%')]);
    expectText(picture, 'hippopotam', 3, 10, 1);
  });
});

describe('transparency', () => {
  test('stays, and does not swallow what is drawn', async () => {
    const path = join(folder, 'clear.png');
    const rows = Array(60).fill(Array(80 * 4).fill(0));
    writeFileSync(path, makePng({ width: 80, height: 60, bits: 8, colour: 'rgba', rows }));
    const picture = await annotate(path, 'image/png', [face(20, 30, 40, 20, '')]);
    expect(picture.channels).toBe(4);
    expect(picture.at(20, 30)).toEqual([...GREEN, 255]);
    expect(picture.at(5, 5)[3]).toBe(0);
  });

  test('is white where the copy is a JPEG', async () => {
    const path = join(folder, 'clear.tiff');
    await sharp({ create: { width: 80, height: 60, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } })
      .tiff({ compression: 'lzw' })
      .toFile(path);
    const picture = await annotate(path, 'image/tiff', [face(20, 30, 40, 20, '')]);
    expect(picture.channels).toBe(3);
    expect(picture.at(5, 5)).toEqual([255, 255, 255]);
  });
});

test('16 bits a channel become 8, their brightness kept', async () => {
  const path = join(folder, 'deep.png');
  const rows = Array(60).fill(Array(80).fill([0x40, 0x40, 0x80, 0x80, 0xc0, 0xc0]).flat());
  writeFileSync(path, makePng({ width: 80, height: 60, bits: 16, colour: 'rgb', rows }));
  const picture = await annotate(path, 'image/png', [face(20, 30, 40, 20, '')]);
  expect(picture.at(5, 5)).toEqual([64, 128, 192]);
  expect(picture.at(20, 30)).toEqual(GREEN);
});

test('grey pictures get boxes in colour', async () => {
  const path = join(folder, 'grey.png');
  const rows = Array(60).fill(Array(80).fill(90));
  writeFileSync(path, makePng({ width: 80, height: 60, bits: 8, colour: 'grey', rows }));
  const picture = await annotate(path, 'image/png', [face(20, 30, 40, 20, '')]);
  expect([picture.at(5, 5), picture.at(20, 30)]).toEqual([[90, 90, 90], GREEN]);
});

test('BMP becomes JPEG', async () => {
  const path = join(folder, 'even.bmp');
  writeFileSync(path, makeBmp({ width: 80, height: 60, pixels: Array(4800).fill([200, 100, 50]) }));
  const picture = await annotate(path, 'image/bmp', [face(20, 30, 40, 20, '')]);
  expect([picture.width, picture.height]).toEqual([80, 60]);
  for (const [index, value] of [200, 100, 50].entries()) {
    expect(Math.abs((picture.at(5, 5)[index] ?? 0) - value)).toBeLessThanOrEqual(4);
  }
  expect(await sharp(join(folder, 'out')).metadata()).toMatchObject({ format: 'jpeg' });
});

describe.skipIf(!requireShared())('files as they come', () => {
  const picturePath = (name: string) => sharedPath(`data/bad/image/${name}`);

  test.each(badPictures().filter(({ expect: wanted }) => wanted === 'accept'))(
    '$file: a copy of its size',
    async (entry) => {
      const { width = 0, height = 0 } = entry.reference ?? {};
      const mime = entry.file.endsWith('.bmp') ? 'image/bmp' : 'image/jpeg';
      expect(await annotate(entry.path, mime, [face(104, 65, 56, 70)])).toMatchObject({ width, height });
    },
  );

  test.each([
    ['good.jpg', 'image/jpeg', 'jpeg'],
    ['good.png', 'image/png', 'png'],
    ['good.webp', 'image/webp', 'webp'],
    ['animated.webp', 'image/webp', 'webp'],
    ['animated.gif', 'image/gif', 'jpeg'],
    ['good.tiff', 'image/tiff', 'jpeg'],
    ['good.avif', 'image/avif', 'jpeg'],
  ])('%s: a still picture of the right format', async (name, mime, format) => {
    await annotate(picturePath(name), mime, [face(40, 60, 30, 30)]);
    const header = await sharp(join(folder, 'out'), { animated: true }).metadata();
    expect(header.format).toBe(format);
    expect(header.pages ?? 1).toBe(1);
  });

  test.each(['exif-gps.jpg', 'exif-huge.jpg', 'exif-orientation-6.jpg', 'polyglot-html-comment.jpg', 'mpo-named.jpg'])(
    '%s: nothing but pixels is copied',
    async (name) => {
      for (const mime of ['image/jpeg', 'image/png', 'image/webp']) {
        await annotate(picturePath(name), mime, [face(104, 65, 56, 70)]);
        const path = join(folder, 'out');
        const header = await sharp(path).metadata();
        expect(header).not.toHaveProperty('exif');
        expect(header).not.toHaveProperty('icc');
        expect(header).not.toHaveProperty('xmp');
        expect(header).not.toHaveProperty('iptc');
        expect(header.orientation ?? 1).toBe(1);
        expect(readFileSync(path, 'latin1')).not.toMatch(
          /Exif\0|eXIf|EXIF|ICC_PROFILE|iCCP|ICCP|adobe\.com|<script|tEXt/,
        );
      }
    },
  );

  test.each([3, 6, 7])('orientation %i: the box is where a person sees the face', async (orientation) => {
    const picture = await annotate(picturePath(`exif-orientation-${orientation}.jpg`), 'image/png', [
      face(104, 65, 56, 70, ''),
    ]);
    const plain = await readPicture(picturePath('good.jpg'));
    const corners = [picture.at(104, 65), picture.at(159, 65), picture.at(104, 134), picture.at(159, 134)];
    expect(corners).toEqual([GREEN, GREEN, GREEN, GREEN]);
    for (const [x, y] of [
      [20, 20],
      [300, 20],
      [160, 230],
      [132, 100],
    ] as const) {
      for (const [index, value] of plain.at(x, y).entries()) {
        expect(Math.abs((picture.at(x, y)[index] ?? 0) - value)).toBeLessThan(30);
      }
    }
  });

  test('24 megapixels with a hundred boxes', async () => {
    const boxes = Array.from({ length: 100 }, (_, index) =>
      face((index % 10) * 590 + 50, Math.floor(index / 10) * 380 + 120, 300, 250, `face ${index + 1} 98%`),
    );
    const picture = await annotate(picturePath('big-but-fine-6000x4000.jpg'), 'image/jpeg', boxes);
    expect([picture.width, picture.height]).toEqual([6000, 4000]);
    const { bbox } = boxes[99] ?? face(0, 0, 0, 0);
    for (const [index, value] of GREEN.entries()) {
      expect(Math.abs((picture.at(bbox.x + 4, bbox.y + 100)[index] ?? 0) - value)).toBeLessThan(12);
    }
  });

  test('a file that is no picture leaves nothing behind', async () => {
    const target = join(folder, 'never');
    const annotation = { source: picturePath('text.jpg'), mime: 'image/jpeg', boxes: [] };
    await expect(annotateImage(annotation, target, limits)).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
    expect(existsSync(target)).toBe(false);
  });

  test('more pixels than the limit are refused', async () => {
    const annotation = { source: picturePath('big-but-fine-6000x4000.jpg'), mime: 'image/jpeg', boxes: [] };
    const drawing = annotateImage(annotation, join(folder, 'never'), { pixels: 1_000_000 });
    await expect(drawing).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
  });
});

test.each([
  ['a missing JPEG', { source: join(folder, 'gone.jpg'), mime: 'image/jpeg' }, 'never'],
  ['a missing BMP', { source: join(folder, 'gone.bmp'), mime: 'image/bmp' }, 'never'],
  ['a target that cannot be written', { source: plainPng(4, 4), mime: 'image/png' }, 'no/such/folder'],
])('%s is a fault of storage', async (_, { source, mime }, target) => {
  const drawing = annotateImage({ source, mime, boxes: [] }, join(folder, target), limits);
  await expect(drawing).rejects.toBeInstanceOf(TransientError);
  expect(existsSync(join(folder, target))).toBe(false);
});

test('an aborted drawing does not begin', async () => {
  const reason = new Error('cancelled');
  const annotation = { source: plainPng(4, 4), mime: 'image/png', boxes: [] };
  const drawing = annotateImage(annotation, join(folder, 'never'), { ...limits, signal: AbortSignal.abort(reason) });
  await expect(drawing).rejects.toBe(reason);
});
