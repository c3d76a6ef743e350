import { describe, expect, it } from 'vitest';
import { createBoxList } from '../../../src/detect/boxes.ts';
import { type Reading, readChannelsFirst, readEndToEnd, readRows } from '../../../src/detect/families/ultralytics.ts';

const READING: Reading = {
  classes: 2,
  frame: { width: 100, height: 60 },
  offset: { left: 0, top: 20 },
  confidence: 0.3,
  keeps: undefined,
};

type Reader = (list: ReturnType<typeof createBoxList>, reading: Reading) => void;

function found(reader: Reader, changes: Partial<Reading> = {}) {
  const list = createBoxList();
  reader(list, { ...READING, ...changes });
  return Array.from({ length: list.count }, (_, index) => [
    ...[list.x1[index], list.y1[index], list.x2[index], list.y2[index]],
    Number(list.score[index]?.toFixed(4)),
    list.classId[index],
  ]);
}

/** Boxes as rows: cx, cy, w, h, then scores. */
const transpose = (rows: number[][]) => (rows[0] ?? []).flatMap((_, column) => rows.map((row) => row[column] ?? 0));

const rowsReader =
  (rows: number[][], withObjectness: boolean): Reader =>
  (list, reading) =>
    readRows(
      list,
      { dims: [1, rows.length, rows[0]?.length ?? 0], data: Float32Array.from(rows.flat()) },
      reading,
      withObjectness,
    );
const channelsReader =
  (rows: number[][]): Reader =>
  (list, reading) =>
    readChannelsFirst(
      list,
      { dims: [1, rows[0]?.length ?? 0, rows.length], data: Float32Array.from(transpose(rows)) },
      reading,
    );
const endReader =
  (rows: number[][]): Reader =>
  (list, reading) =>
    readEndToEnd(list, { dims: [1, rows.length, 6], data: Float32Array.from(rows.flat()) }, reading);

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

describe.each([
  ['class by class', channelsReader],
  ['row by row', (rows: number[][]) => rowsReader(rows, false)],
])('centre, size and class scores, %s', (_, reader) => {
  it('takes the best class and moves the box from the input into the frame', () => {
    const rows = [
      [50, 50, 20, 10, 0.25, 0.5],
      [10, 30, 20, 20, 0.75, 0.5],
      [50, 50, 20, 10, 0.25, 0.125],
    ];
    expect(found(reader(rows))).toEqual([
      [40, 25, 60, 35, 0.5, 1],
      [0, 0, 20, 20, 0.75, 0],
    ]);
  });

  it('gives wanted classes only', () => {
    const rows = [
      [50, 50, 20, 10, 0.25, 0.5],
      [10, 30, 20, 20, 0.75, 0.5],
    ];
    expect(found(reader(rows), { keeps: [true, false] })).toEqual([[0, 0, 20, 20, 0.75, 0]]);
  });

  it('reads every box at confidence 0, one that is 0 in all classes as the first class', () => {
    expect(found(reader([[50, 50, 20, 10, 0, 0]]), { confidence: 0 })).toEqual([[40, 25, 60, 35, 0, 0]]);
  });

  it('lets nothing through that is not a number', () => {
    const rows = [
      [50, 50, 20, 10, nan, nan],
      [nan, 50, 20, 10, 0.5, 0],
      [50, 50, infinity, 10, 0.5, 0],
      [50, 50, 20, 10, infinity, 0],
      [50, 50, 20, 10, nan, 0.5],
    ];
    expect(found(reader(rows))).toEqual([[40, 25, 60, 35, 0.5, 1]]);
  });
});

describe('with objectness', () => {
  it('scores with objectness times class', () => {
    const rows = [
      [50, 50, 20, 10, 0.5, 0.25, 0.75],
      [50, 50, 20, 10, 0.5, 0.5, 0.25],
      [50, 50, 20, 10, nan, 1, 1],
    ];
    expect(found(rowsReader(rows, true))).toEqual([[40, 25, 60, 35, 0.375, 1]]);
  });
});

describe('end to end', () => {
  it('takes corners, score and class as they are', () => {
    const rows = [
      [40, 45, 60, 55, 0.5, 1],
      [40, 45, 60, 55, 0.25, 1],
      [40, 45, 60, 55, 0.5, 2],
      [40, 45, 60, 55, 0.5, -1],
      [40, 45, 60, 55, 0.5, nan],
      [40, 45, 60, 55, nan, 0],
      [nan, 45, 60, 55, 0.5, 0],
    ];
    expect(found(endReader(rows))).toEqual([[40, 25, 60, 35, 0.5, 1]]);
    expect(found(endReader(rows), { keeps: [true, false] })).toEqual([]);
  });
});
