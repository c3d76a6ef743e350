import { describe, expect, it } from 'vitest';
import { addBox, createBoxList, iou, PRE_NMS_LIMIT, suppress } from '../../../src/detect/boxes.ts';
import { detectionAt, wantedClasses } from '../../../src/detect/outcome.ts';

const FRAME = { width: 1000, height: 1000 };

type Box = [x1: number, y1: number, x2: number, y2: number, score: number, classId?: number];

function listOf(boxes: readonly Box[], frame = FRAME) {
  const list = createBoxList(2);
  boxes.forEach(([x1, y1, x2, y2, score, classId = 0], index) => {
    addBox(list, frame, x1, y1, x2, y2, score, classId, index);
  });
  return list;
}

/** Small deterministic pseudo-random numbers, 0 to 1 (a linear congruential generator). */
function randoms(seed: number) {
  let state = seed;
  return () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 2147483648;
  };
}

describe('iou', () => {
  it('is shared area over joint area', () => {
    // 9x9 shared of twice 10x10; 5x5 of 10x10 and 5x5 inside it; touching; apart; the same box.
    const list = listOf([
      [0, 0, 10, 10, 1],
      [1, 1, 11, 11, 1],
      [5, 5, 10, 10, 1],
      [10, 0, 20, 10, 1],
      [500, 500, 510, 510, 1],
    ]);
    expect(iou(list, 0, 1)).toBeCloseTo(81 / 119, 12);
    expect(iou(list, 0, 2)).toBeCloseTo(25 / 100, 12);
    expect(iou(list, 0, 3)).toBe(0);
    expect(iou(list, 0, 4)).toBe(0);
    expect(iou(list, 0, 0)).toBe(1);
    expect(iou(list, 1, 0)).toBe(iou(list, 0, 1));
  });
});

describe('addBox', () => {
  it('leaves out what shows nothing inside the frame or is not finite', () => {
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    const list = listOf([
      [-20, -20, -1, -1, 0.9],
      [1000, 10, 1100, 20, 0.9],
      [10, 10, 10, 20, 0.9],
      [10, 20, 20, 10, 0.9],
      [nan, 10, 20, 20, 0.9],
      [10, 10, 20, nan, 0.9],
      [10, 10, infinity, 20, 0.9],
      [-infinity, 10, 20, 20, 0.9],
      [10, 10, 20, 20, nan],
      [10, 10, 20, 20, infinity],
      [-5, -5, 5, 5, 0.5],
      [990, 990, 1010, 1010, 1.2],
    ]);
    expect(list.count).toBe(2);
    expect([...list.source.subarray(0, 2)]).toEqual([10, 11]);
    expect([...list.score.subarray(0, 2)]).toEqual([0.5, 1]);
  });
});

describe('suppress', () => {
  it('keeps the best of overlapping boxes of one class, by falling score', () => {
    const list = listOf([
      [1, 1, 11, 11, 0.8],
      [0, 0, 10, 10, 0.9],
      [200, 200, 300, 300, 0.95],
      [2, 2, 12, 12, 0.7, 1],
    ]);
    expect(suppress(list, 0.5, 100)).toEqual([2, 1, 3]);
  });

  it('drops a box only above the threshold, not at it', () => {
    const list = listOf([
      [0, 0, 10, 10, 0.9],
      [0, 0, 10, 5, 0.8],
    ]);
    expect(suppress(list, 0.5, 100)).toEqual([0, 1]);
    expect(suppress(list, 0.499, 100)).toEqual([0]);
  });

  it('compares with kept boxes only: what a dropped box overlaps stays', () => {
    const list = listOf([
      [0, 0, 10, 10, 0.9],
      [4, 0, 14, 10, 0.8],
      [8, 0, 18, 10, 0.7],
    ]);
    // 0 and 1 share 60 of 140, 1 and 2 likewise, 0 and 2 share 20 of 180.
    expect(suppress(list, 0.4, 100)).toEqual([0, 2]);
  });

  it('keeps all for a threshold of 1 or none, and stops at the limit', () => {
    const list = listOf([
      [0, 0, 10, 10, 0.3],
      [0, 0, 10, 10, 0.9],
      [0, 0, 10, 10, 0.6],
    ]);
    expect(suppress(list, 1, 100)).toEqual([1, 2, 0]);
    expect(suppress(list, null, 100)).toEqual([1, 2, 0]);
    expect(suppress(list, null, 2)).toEqual([1, 2]);
    expect(suppress(list, 0, 100)).toEqual([1]);
  });

  it('keeps the order of equal scores', () => {
    const boxes = Array.from({ length: 50 }, (_, index): Box => [index * 20, 0, index * 20 + 10, 10, 0.5]);
    expect(suppress(listOf(boxes), 0.5, 100)).toEqual(boxes.map((_, index) => index));
  });

  it('agrees with the textbook form on random boxes', () => {
    const random = randoms(7);
    const boxes = Array.from({ length: 400 }, (): Box => {
      const x = random() * 300;
      const y = random() * 300;
      return [x, y, x + 10 + random() * 80, y + 10 + random() * 80, random(), Math.floor(random() * 3)];
    });
    const overlap = (a: Box, b: Box) => {
      const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
      const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
      if (width <= 0 || height <= 0) return 0;
      const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
      return (width * height) / (area(a) + area(b) - width * height);
    };
    const expected: number[] = [];
    let rest = boxes.map((_, index) => index).sort((a, b) => (boxes[b]?.[4] ?? 0) - (boxes[a]?.[4] ?? 0));
    while (rest.length > 0) {
      const best = rest[0] as number;
      expected.push(best);
      const one = boxes[best] as Box;
      rest = rest.filter((index) => {
        const other = boxes[index] as Box;
        return index !== best && (other[5] !== one[5] || overlap(one, other) <= 0.45);
      });
    }
    expect(suppress(listOf(boxes), 0.45, 1000)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(50);
  });

  it('looks at the best boxes only when there are very many', () => {
    const random = randoms(3);
    const boxes = Array.from({ length: 25200 }, (_, index): Box => [index % 990, 0, (index % 990) + 5, 5, random()]);
    const kept = suppress(listOf(boxes), 1, 100_000);
    const best = boxes
      .map((box, index) => [box[4], index] as const)
      .sort((a, b) => b[0] - a[0] || a[1] - b[1])
      .slice(0, PRE_NMS_LIMIT)
      .map(([, index]) => index);
    expect(kept).toEqual(best);
  });

  it('takes the first of equal scores where they cross the limit', () => {
    const boxes = Array.from({ length: PRE_NMS_LIMIT + 10 }, (): Box => [0, 0, 5, 5, 0.5]);
    expect(suppress(listOf(boxes), 1, 100_000)).toEqual(boxes.slice(0, PRE_NMS_LIMIT).map((_, index) => index));
  });

  it('gives nothing for nothing', () => {
    expect(suppress(createBoxList(), 0.5, 100)).toEqual([]);
  });
});

describe('detectionAt', () => {
  it('cuts the box off at the edges of the frame', () => {
    const frame = { width: 100, height: 50 };
    const list = listOf(
      [
        [-10, -20, 30, 40, 0.9, 1],
        [90.5, 20.25, 130, 80, 0.8],
        [10, 10, 20, 20, 0.7],
      ],
      frame,
    );
    const labels = ['cat', 'dog'];
    const cut = [0, 1, 2].map((index) => detectionAt(list, index, frame, labels));
    expect(cut[0]).toEqual({ x: 0, y: 0, width: 30, height: 40, confidence: 0.9, classId: 1, label: 'dog' });
    expect(cut[1]).toEqual({ x: 90.5, y: 20.25, width: 9.5, height: 29.75, confidence: 0.8, classId: 0, label: 'cat' });
    expect(cut[2]).toMatchObject({ x: 10, y: 10, width: 10, height: 10 });
  });
});

describe('wantedClasses', () => {
  it('tells by class number, and knows no class that the model lacks', () => {
    expect(wantedClasses(['cat', 'dog'], undefined)).toBeUndefined();
    expect(wantedClasses(['cat', 'dog'], ['dog', 'unicorn'])).toEqual([false, true]);
    expect(wantedClasses(['cat', 'dog'], [])).toEqual([false, false]);
  });
});
