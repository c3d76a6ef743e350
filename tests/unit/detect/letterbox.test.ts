import { describe, expect, it } from 'vitest';
import { createSizing } from '../../../src/detect/input-size.ts';
import {
  fillPadding,
  fillPicture,
  fitWithin,
  offsetOf,
  type Preprocessing,
  valueTable,
} from '../../../src/detect/letterbox.ts';

describe('fitWithin', () => {
  it.each([
    // picture, box, worked out by hand
    [
      [1920, 1080],
      [640, 640],
      [640, 360],
    ],
    [
      [1080, 1920],
      [640, 640],
      [360, 640],
    ],
    [
      [320, 280],
      [416, 416],
      [416, 364],
    ],
    [
      [640, 480],
      [320, 240],
      [320, 240],
    ],
    [
      [100, 100],
      [320, 240],
      [240, 240],
    ],
    [
      [333, 500],
      [416, 416],
      [277, 416],
    ],
    [
      [8000, 2],
      [640, 640],
      [640, 1],
    ],
    [
      [2, 8000],
      [640, 640],
      [1, 640],
    ],
    [
      [1, 1],
      [640, 640],
      [640, 640],
    ],
  ])('%j in %j is %j', ([width = 0, height = 0], [boxWidth = 0, boxHeight = 0], [wantedWidth, wantedHeight]) => {
    const size = fitWithin({ width, height }, { width: boxWidth, height: boxHeight });
    expect(size).toEqual({ width: wantedWidth, height: wantedHeight });
  });
});

describe('createSizing', () => {
  const options = { inputSize: undefined };

  it('keeps to a fixed input, whatever the request says', () => {
    const { frameSize, inputFor } = createSizing({ width: 416, height: 416 }, () => 9999);
    expect(frameSize({ width: 1920, height: 1080 }, { inputSize: 1280 })).toEqual({ width: 416, height: 234 });
    expect(inputFor({ width: 416, height: 234 })).toEqual({ width: 416, height: 416 });
  });

  it('gives a free input the multiples of 32 that the frame needs', () => {
    const { frameSize, inputFor } = createSizing({ width: null, height: null }, () => 640);
    expect(frameSize({ width: 1920, height: 1080 }, options)).toEqual({ width: 640, height: 360 });
    expect(inputFor({ width: 640, height: 360 })).toEqual({ width: 640, height: 384 });
    expect(frameSize({ width: 1920, height: 1080 }, { inputSize: 1280 })).toEqual({ width: 1280, height: 720 });
    expect(inputFor({ width: 1280, height: 720 })).toEqual({ width: 1280, height: 736 });
    expect(inputFor({ width: 1, height: 1 })).toEqual({ width: 32, height: 32 });
  });
});

describe('offsetOf', () => {
  it('lays the picture at the top left, or in the middle with the odd pixel at the right and below', () => {
    const input = { width: 640, height: 640 };
    const frame = { data: new Uint8Array(), width: 640, height: 361 };
    expect(offsetOf(frame, input, 'corner')).toEqual({ left: 0, top: 0 });
    expect(offsetOf(frame, input, 'centre')).toEqual({ left: 0, top: 139 });
    expect(offsetOf({ ...frame, width: 10, height: 640 }, input, 'centre')).toEqual({ left: 315, top: 0 });
  });
});

describe('valueTable', () => {
  it('holds what each value becomes', () => {
    const table = valueTable((value) => value / 255, false);
    expect(table).toBeInstanceOf(Float32Array);
    expect([table[0], table[51], table[255]]).toEqual([0, Math.fround(0.2), 1]);
  });

  it('holds the bits of half precision', () => {
    // 1 = 0x3c00; 51/255 = 0.2 = 0x3266 (1638/1024 x 2^-3); 128/255 = 0.50196 = 0x3804 (4 steps of 2^-11 above 0.5).
    const table = valueTable((value) => value / 255, true);
    expect(table).toBeInstanceOf(Uint16Array);
    expect([table[0], table[51], table[128], table[255]]).toEqual([0, 0x3266, 0x3804, 0x3c00]);
  });
});

describe('filling', () => {
  const frame = { data: Uint8Array.from([1, 2, 3, 4, 5, 6]), width: 2, height: 1 };
  const input = { width: 4, height: 3 };

  function filled(order: Preprocessing['order'], placement: Preprocessing['placement']) {
    const tensor = new Float32Array(3 * 4 * 3).fill(-1);
    const offset = offsetOf(frame, input, placement);
    fillPadding(tensor, input, frame, offset, 9);
    fillPicture(
      tensor,
      input,
      frame,
      offset,
      order,
      valueTable((value) => value * 10, false),
    );
    return [...tensor];
  }

  it('writes planes of RGB with the picture in the middle', () => {
    expect(filled('rgb', 'centre')).toEqual([
      ...[9, 9, 9, 9, 9, 10, 40, 9, 9, 9, 9, 9],
      ...[9, 9, 9, 9, 9, 20, 50, 9, 9, 9, 9, 9],
      ...[9, 9, 9, 9, 9, 30, 60, 9, 9, 9, 9, 9],
    ]);
  });

  it('writes planes of BGR with the picture at the top left', () => {
    expect(filled('bgr', 'corner')).toEqual([
      ...[30, 60, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
      ...[20, 50, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
      ...[10, 40, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
    ]);
  });

  it('leaves nothing unwritten when the frame fills the input', () => {
    const full = { data: new Uint8Array(36).fill(7), width: 4, height: 3 };
    const tensor = new Float32Array(36).fill(-1);
    fillPadding(tensor, input, full, { left: 0, top: 0 }, 9);
    fillPicture(
      tensor,
      input,
      full,
      { left: 0, top: 0 },
      'rgb',
      valueTable((value) => value, false),
    );
    expect(tensor.every((value) => value === 7)).toBe(true);
  });
});
