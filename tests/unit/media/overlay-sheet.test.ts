import { expect, test } from 'vitest';
import type { Colour } from '../../../src/media/annotation-colours.ts';
import type { Mark } from '../../../src/media/annotation-marks.ts';
import { createOverlaySheet, type Overlay } from '../../../src/media/overlay-sheet.ts';

const RED: Colour = [255, 0, 0];
const BLUE: Colour = [0, 0, 255];
const size = { width: 1000, height: 700 };

const rectangle = (left: number, top: number, width: number, height: number, colour = RED): Mark => ({
  shape: 'rectangle',
  colour,
  left,
  top,
  right: left + width,
  bottom: top + height,
});

function pixelAt(overlays: readonly Overlay[], x: number, y: number): number[] {
  const hits = overlays.filter(
    ({ left, top, width, height }) => x >= left && x < left + width && y >= top && y < top + height,
  );
  expect(hits.length).toBeLessThanOrEqual(1);
  const [hit] = hits;
  if (hit === undefined) return [0, 0, 0, 0];
  const at = ((y - hit.top) * hit.width + x - hit.left) * 4;
  return [...hit.data.subarray(at, at + 4)];
}

test('only what is painted takes room, cut into pieces that do not overlap', async () => {
  const sheet = createOverlaySheet(size);
  expect(sheet.add([rectangle(200, 300, 600, 2)], 0)).toBe(true);
  const overlays = await sheet.paint();
  expect(overlays.length).toBeGreaterThan(1);
  expect(overlays.reduce((sum, { width, height }) => sum + width * height, 0)).toBe(1200);
  for (const x of [200, 255, 256, 511, 512, 799]) expect(pixelAt(overlays, x, 301)).toEqual([...RED, 255]);
  for (const [x, y] of [
    [199, 300],
    [800, 300],
    [400, 299],
    [400, 302],
  ] as const) {
    expect(pixelAt(overlays, x, y)).toEqual([0, 0, 0, 0]);
  }
});

test('between two marks of a piece it is transparent', async () => {
  const sheet = createOverlaySheet(size);
  sheet.add([rectangle(10, 10, 5, 5), rectangle(40, 40, 5, 5)], 0);
  const overlays = await sheet.paint();
  expect(overlays).toHaveLength(1);
  expect([pixelAt(overlays, 12, 12), pixelAt(overlays, 44, 44)]).toEqual([
    [...RED, 255],
    [...RED, 255],
  ]);
  expect(pixelAt(overlays, 25, 25)).toEqual([0, 0, 0, 0]);
});

test('the higher layer covers, whatever came first', async () => {
  const sheet = createOverlaySheet(size);
  sheet.add([rectangle(10, 10, 20, 20, RED)], 5);
  sheet.add([rectangle(10, 10, 20, 20, BLUE)], 1);
  expect(pixelAt(await sheet.paint(), 15, 15)).toEqual([...RED, 255]);
});

test('within a layer the later mark covers', async () => {
  const sheet = createOverlaySheet(size);
  sheet.add([rectangle(10, 10, 20, 20, RED), rectangle(10, 10, 20, 20, BLUE)], 0);
  expect(pixelAt(await sheet.paint(), 15, 15)).toEqual([...BLUE, 255]);
});

test('marks are clipped to the picture, those outside dropped', async () => {
  const sheet = createOverlaySheet(size);
  sheet.add([rectangle(-50, -50, 60, 60), rectangle(995, 695, 50, 50), rectangle(1000, 0, 9, 9)], 0);
  const overlays = await sheet.paint();
  expect(overlays.map(({ left, top, width, height }) => [left, top, width, height])).toEqual([
    [0, 0, 10, 10],
    [995, 695, 5, 5],
  ]);
});

test('nothing more is taken once the limit is reached', async () => {
  const sheet = createOverlaySheet(size, 100);
  expect(sheet.add([rectangle(0, 0, 10, 10)], 0)).toBe(true);
  expect(sheet.add([rectangle(500, 500, 10, 10)], 0)).toBe(false);
  expect(await sheet.paint()).toHaveLength(1);
});

test('painting a lot lets others have their turn', async () => {
  const large = { width: 6000, height: 4000 };
  const sheet = createOverlaySheet(large);
  for (let index = 0; index < 40; index++) sheet.add([rectangle(index, index, 5900, 3900)], index);
  let turns = 0;
  const ticking = setInterval(() => turns++, 0);
  await sheet.paint();
  clearInterval(ticking);
  expect(turns).toBeGreaterThan(3);
});
