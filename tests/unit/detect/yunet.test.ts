import { describe, expect, it } from 'vitest';
import { createBoxList } from '../../../src/detect/boxes.ts';
import {
  decodeYunetLevel,
  longestSideFor,
  type YunetLevel,
  yunetLandmarks,
} from '../../../src/detect/families/yunet.ts';
import { detectionAt } from '../../../src/detect/outcome.ts';

const FRAME = { width: 64, height: 60 };

/** A grid of 4x4 cells of stride 16 in which nothing is found. */
function emptyLevel(): YunetLevel {
  return {
    stride: 16,
    columns: 4,
    cls: new Float32Array(16),
    obj: new Float32Array(16),
    bbox: new Float32Array(64),
    kps: new Float32Array(160),
  };
}

function levelWith(cell: number, cls: number, obj: number, bbox: number[], kps: number[] = []): YunetLevel {
  const level = emptyLevel();
  level.cls[cell] = cls;
  level.obj[cell] = obj;
  level.bbox.set(bbox, cell * 4);
  level.kps.set(kps, cell * 10);
  return level;
}

function decode(level: YunetLevel, confidence: number) {
  const list = createBoxList();
  decodeYunetLevel(list, level, FRAME, confidence, 1);
  return list;
}

describe('decodeYunetLevel', () => {
  it('takes centre, size and score from a cell', () => {
    // Cell 6 is column 2, row 1: centre (2.25 x 16, 0.5 x 16) = (36, 8), size (2 x 16, 3 x 16) = (32, 48).
    const level = levelWith(6, 0.9, 0.4, [0.25, -0.5, Math.log(2), Math.log(3)]);
    const list = decode(level, 0.5);
    expect(list.count).toBe(1);
    expect(list.x1[0]).toBeCloseTo(20, 4);
    expect(list.y1[0]).toBeCloseTo(-16, 4);
    expect(list.x2[0]).toBeCloseTo(52, 4);
    expect(list.y2[0]).toBeCloseTo(32, 4);
    expect(list.score[0]).toBeCloseTo(0.6, 6);
    expect(detectionAt(list, 0, FRAME, ['face'])).toMatchObject({ y: 0, label: 'face' });
    expect(detectionAt(list, 0, FRAME, ['face']).height).toBeCloseTo(32, 4);
  });

  it('compares the root of the product with the threshold', () => {
    const level = levelWith(6, 0.9, 0.4, [0, 0, 0, 0]);
    expect(decode(level, 0.599).count).toBe(1);
    expect(decode(level, 0.601).count).toBe(0);
  });

  it('takes scores beyond 0 and 1 for 0 and 1', () => {
    const list = decode(levelWith(5, 1.5, 1.2, [0, 0, 0, 0]), 0.9);
    expect([list.count, list.score[0]]).toEqual([1, 1]);
    expect(decode(levelWith(5, -2, -3, [0, 0, 0, 0]), 0.1).count).toBe(0);
  });

  it('lets nothing through that is not a number', () => {
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    expect(decode(levelWith(6, nan, 1, [0, 0, 0, 0]), 0).count).toBe(15);
    expect(decode(levelWith(6, 1, 1, [nan, 0, 0, 0]), 0.5).count).toBe(0);
    expect(decode(levelWith(6, 1, 1, [0, 0, infinity, 0]), 0.5).count).toBe(0);
    expect(decode(levelWith(6, 1, 1, [0, 0, 1000, 1000]), 0.5).count).toBe(0);
  });
});

describe('yunetLandmarks', () => {
  it('gives the five points in the order of the model, inside the frame', () => {
    const level = levelWith(6, 1, 1, [0, 0, 0, 0], [0, 0, 0.5, 0, 0.25, 0.25, -9, 1, 1, 99]);
    expect(yunetLandmarks(level, 6, FRAME)).toEqual({
      right_eye: [32, 16],
      left_eye: [40, 16],
      nose: [36, 20],
      mouth_right: [0, 32],
      mouth_left: [48, 60],
    });
  });

  it('gives none when a point is not a number', () => {
    const level = levelWith(6, 1, 1, [0, 0, 0, 0], [Number.NaN]);
    expect(yunetLandmarks(level, 6, FRAME)).toBeUndefined();
  });
});

describe('longestSideFor', () => {
  it.each([
    // 640x640 pixels in 16:9 are 853x480; 1:1; 3:4.
    [1920, 1080, 853],
    [4000, 4000, 640],
    [3000, 4000, 739],
    [640, 480, 640],
    // Between the two areas a picture stays as it is.
    [700, 500, 700],
    // Twice as large at most, up to 640x480 pixels.
    [64, 48, 128],
    [320, 240, 640],
    [500, 300, 716],
    [1, 1, 2],
    // Long and narrow ones keep more of their length, up to 1280.
    [8000, 500, 1280],
    [8000, 2, 1280],
  ])('%d x %d is looked at with %d', (width, height, side) => {
    expect(longestSideFor({ width, height })).toBe(side);
  });
});
