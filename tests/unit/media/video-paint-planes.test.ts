import { describe, expect, test } from 'vitest';
import { type Mark, marksOf } from '../../../src/media/annotation-marks.ts';
import { paintMarks } from '../../../src/media/paint-marks.ts';
import { createPlanePainter, toYuv } from '../../../src/media/paint-planes.ts';

describe('colours', () => {
  // Pure colours at 100 % in 8-bit limited range, as the standards' test charts give them.
  test.each([
    ['bt601', [255, 255, 255], [235, 128, 128]],
    ['bt601', [0, 0, 0], [16, 128, 128]],
    ['bt601', [255, 0, 0], [81, 90, 240]],
    ['bt601', [0, 255, 0], [145, 54, 34]],
    ['bt601', [0, 0, 255], [41, 240, 110]],
    ['bt709', [255, 0, 0], [63, 102, 240]],
    ['bt709', [0, 255, 0], [173, 42, 26]],
    ['bt709', [0, 0, 255], [32, 240, 118]],
    ['bt2020', [255, 255, 255], [235, 128, 128]],
    ['bt2020', [255, 0, 0], [74, 97, 240]],
  ] as const)('%s: %j is %j', (matrix, colour, expected) => {
    expect(toYuv(colour, matrix)).toEqual(expected);
  });
});

const SIZE = { width: 64, height: 48 };
const BYTES = (SIZE.width * SIZE.height * 3) / 2;

function paintInPieces(marks: readonly Mark[], piece: number): Uint8Array {
  const picture = new Uint8Array(BYTES);
  const paint = createPlanePainter(SIZE, 'bt601');
  for (let at = 0; at < BYTES; at += piece) paint(marks, picture.subarray(at, at + piece), at);
  return picture;
}

const { outline, label } = marksOf(
  { bbox: { x: 11, y: 23, width: 31, height: 17 }, text: 'dog 5%', group: 3, points: [{ x: 20, y: 30 }] },
  SIZE,
);
const marks = [...outline, ...label];

test('paints the same pixels as into a picture', () => {
  const rgba = paintMarks(marks, { left: 0, top: 0, right: SIZE.width, bottom: SIZE.height });
  const expected = Uint8Array.from({ length: SIZE.width * SIZE.height }, (_, pixel) => {
    const [red = 0, green = 0, blue = 0, alpha = 0] = rgba.subarray(4 * pixel, 4 * pixel + 4);
    // BT.601 by its integer formula.
    return alpha === 0 ? 0 : Math.round(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255);
  });
  expect(expected.some((value) => value > 0)).toBe(true);
  expect(paintInPieces(marks, BYTES).subarray(0, expected.length)).toEqual(expected);
});

test.each([1, 7, 64, 1000, 3072, 4000])('pieces of %i bytes make no difference', (piece) => {
  expect(paintInPieces(marks, piece)).toEqual(paintInPieces(marks, BYTES));
});

test('chroma covers every pair of pixels that a mark touches', () => {
  const mark: Mark = { shape: 'rectangle', colour: [255, 0, 0], left: 3, top: 5, right: 6, bottom: 6 };
  const picture = paintInPieces([mark], BYTES);
  const blueness = picture.subarray(SIZE.width * SIZE.height, SIZE.width * SIZE.height * 1.25);
  const painted = [...blueness.entries()]
    .filter(([, value]) => value > 0)
    .map(([at]) => [at % 32, Math.floor(at / 32)]);
  expect(painted).toEqual([
    [1, 2],
    [2, 2],
  ]);
});

test('what lies outside the picture is left out', () => {
  const mark: Mark = { shape: 'rectangle', colour: [255, 255, 255], left: -20, top: -20, right: 500, bottom: 500 };
  const picture = paintInPieces([mark], 100);
  expect(new Set(picture.subarray(0, SIZE.width * SIZE.height))).toEqual(new Set([235]));
});
