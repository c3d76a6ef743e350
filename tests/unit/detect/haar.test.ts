import { describe, expect, it } from 'vitest';
import { confidenceOf, fillGrey } from '../../../src/detect/families/haar.ts';
import { createDetector } from '../../../src/detect/registry.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { detectIn, optionsOf, readyModel, SETTINGS } from './pictures.ts';

describe('fillGrey', () => {
  it('is the luma of BT.601, rounded', () => {
    // 0.299, 0.587 and 0.114 of 255: 76.245, 149.685, 29.07; of (10, 200, 30): 2.99 + 117.4 + 3.42 = 123.81.
    const colours = [
      ...[255, 255, 255],
      ...[0, 0, 0],
      ...[255, 0, 0],
      ...[0, 255, 0],
      ...[0, 0, 255],
      ...[10, 200, 30],
    ];
    const grey = new Uint8Array(6);
    fillGrey(grey, { data: Uint8Array.from(colours), width: 6, height: 1 });
    expect([...grey]).toEqual([255, 0, 76, 150, 29, 124]);
  });
});

describe('confidenceOf', () => {
  it.each([
    [-3, 0],
    [0, 0],
    [1, 0.5],
    [3, 0.75],
    [Number.POSITIVE_INFINITY, 1],
  ])('of weight %d is %d', (weight, confidence) => {
    expect(confidenceOf(weight)).toBe(confidence);
  });

  it('of no number is none, which no threshold lets through', () => {
    expect(confidenceOf(Number.NaN) >= 0).toBe(false);
  });
});

describe.skipIf(!requireShared())('haar', { timeout: 60_000 }, () => {
  it('looks at the picture itself, reduced to the longest side of the settings', async () => {
    const model = await readyModel('haar');
    const detector = await createDetector(model, { ...SETTINGS, haarLongestSide: 400 });
    const options = optionsOf(model, { inputSize: 1280 });
    expect(detector.frameSize({ width: 64, height: 48 }, options)).toEqual({ width: 64, height: 48 });
    expect(detector.frameSize({ width: 4000, height: 3000 }, options)).toEqual({ width: 400, height: 300 });
    expect(detector.frameSize({ width: 2, height: 8000 }, options)).toEqual({ width: 1, height: 400 });
    await detector.close();
  });

  it('keeps its memory over many pictures and serves several at a time', async () => {
    const model = await readyModel('haar');
    const [one, other] = [await createDetector(model, SETTINGS), await createDetector(model, SETTINGS)];
    const picture = sharedPath('data/bad/image/good.jpg');
    const first = await detectIn(one, picture, optionsOf(model));
    for (let round = 0; round < 20; round++) await detectIn(one, picture, optionsOf(model));
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 60; round++) await detectIn(one, picture, optionsOf(model));
    expect(process.memoryUsage().rss - before).toBeLessThan(40e6);
    await one.close();
    expect(await detectIn(other, picture, optionsOf(model))).toEqual(first);
    expect(first).toHaveLength(1);
    await other.close();
  });
});
