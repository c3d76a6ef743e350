import { describe, expect, it } from 'vitest';
import { createBoxList } from '../../../src/detect/boxes.ts';
import { decodeYolox } from '../../../src/detect/families/yolox.ts';

// 64x32: 8x4 cells of stride 8, 4x2 of stride 16, 2x1 of stride 32, that is 42 rows.
const INPUT = { width: 64, height: 32 };
const CLASSES = 3;
const ROWS = 42;

function decode(rows: Record<number, number[]>, confidence: number, keeps?: boolean[]) {
  const data = new Float32Array(ROWS * (5 + CLASSES));
  for (const [row, values] of Object.entries(rows)) data.set(values, Number(row) * (5 + CLASSES));
  const list = createBoxList();
  decodeYolox(list, data, CLASSES, INPUT, INPUT, confidence, keeps);
  return Array.from({ length: list.count }, (_, index) => ({
    box: [list.x1[index], list.y1[index], list.x2[index], list.y2[index]].map((value) => Number(value?.toFixed(3))),
    score: Number(list.score[index]?.toFixed(4)),
    classId: list.classId[index],
    row: list.source[index],
  }));
}

describe('decodeYolox', () => {
  it('knows the grids in the order 8, 16, 32, row by row', () => {
    const ln2 = Math.log(2);
    const found = decode(
      {
        // Stride 8, cell 10: column 2, row 1: centre (20, 10), size 8x16.
        10: [0.5, 0.25, 0, ln2, 0.8, 0.1, 0.5, 0.2],
        // Stride 16, cell 7: column 3, row 1: centre (48, 24), size 16x16.
        39: [0, 0.5, 0, 0, 1, 0.9, 0, 0],
        // Stride 32, cell 1: column 1, row 0: centre (32 x 1.25, 32 x 0.5) = (40, 16), size 64x32.
        41: [0.25, 0.5, ln2, 0, 0.5, 0, 0, 1],
      },
      0.1,
    );
    expect(found).toEqual([
      { box: [16, 2, 24, 18], score: 0.4, classId: 1, row: 10 },
      { box: [40, 16, 56, 32], score: 0.9, classId: 0, row: 39 },
      { box: [8, 0, 72, 32], score: 0.5, classId: 2, row: 41 },
    ]);
  });

  it('scores with objectness times the best class', () => {
    const row = [0, 0, 0, 0, 0.8, 0.1, 0.5, 0.2];
    expect(decode({ 10: row }, 0.39)).toHaveLength(1);
    expect(decode({ 10: row }, 0.41)).toHaveLength(0);
    expect(decode({ 10: [0, 0, 0, 0, 0.2, 1, 0, 0] }, 0.3)).toHaveLength(0);
  });

  it('gives wanted classes only, by the best class of a row', () => {
    const rows = { 10: [0, 0, 0, 0, 1, 0.6, 0.5, 0], 20: [0, 0, 0, 0, 1, 0, 0.7, 0] };
    expect(decode(rows, 0.3, [false, true, false]).map(({ row }) => row)).toEqual([20]);
  });

  it('lets nothing through that is not a number', () => {
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    expect(decode({ 10: [0, 0, 0, 0, nan, 1, 1, 1] }, 0.1)).toHaveLength(0);
    expect(decode({ 10: [0, 0, 0, 0, 1, nan, nan, nan] }, 0.1)).toHaveLength(0);
    expect(decode({ 10: [nan, 0, 0, 0, 1, 1, 0, 0] }, 0.1)).toHaveLength(0);
    expect(decode({ 10: [0, 0, infinity, 0, 1, 1, 0, 0] }, 0.1)).toHaveLength(0);
    expect(decode({ 10: [0, 0, 0, 0, infinity, 1, 0, 0] }, 0.1)).toHaveLength(0);
    expect(decode({ 10: [0, 0, 0, 0, 1, nan, 0.5, 0] }, 0.1)).toMatchObject([{ classId: 1, score: 0.5 }]);
  });
});
