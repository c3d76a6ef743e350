import { describe, expect, it } from 'vitest';
import type { Detection, Size } from '../../../src/detect/detector.ts';
import { createDetector } from '../../../src/detect/registry.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { type NaiveBox, runNaively, suppressNaively } from './naive.ts';
import { frameOf, optionsOf, readyModel, SETTINGS, sizeOf } from './pictures.ts';

function expectSame(detections: readonly Detection[], boxes: readonly NaiveBox[]) {
  expect(detections).toHaveLength(boxes.length);
  for (const [index, box] of boxes.entries()) {
    const { x, y, width, height, confidence, classId } = detections[index] as Detection;
    expect(classId).toBe(box.classId);
    expect(confidence).toBeCloseTo(box.score, 4);
    for (const [actual, wanted] of [
      [x, box.x1],
      [y, box.y1],
      [x + width, box.x2],
      [y + height, box.y2],
    ] as const) {
      expect(Math.abs(actual - wanted)).toBeLessThan(0.01);
    }
  }
}

const toUnit = (value: number) => Math.min(Math.max(value, 0), 1);

describe.skipIf(!requireShared())(
  'detectors against plain second versions of themselves, real weights',
  { timeout: 60_000 },
  () => {
    const crowd = sharedPath('data/faces-points/images/014_5.jpg');
    const street = sharedPath('data/samples/dog.jpg');

    it.each([
      [crowd, 640, 0.3],
      [crowd, 320, 0.6],
      [sharedPath('data/bad/image/good.jpg'), 480, 0.05],
    ])('yunet on %s at %d from confidence %d', async (path, inputSize, confidence) => {
      const model = await readyModel('yunet');
      const detector = await createDetector(model, SETTINGS);
      const options = optionsOf(model, { inputSize, confidence, maxDetections: 1000 });
      const frame = await frameOf(path, detector.frameSize(await sizeOf(path), options));
      expect(Math.max(frame.width, frame.height)).toBe(inputSize);
      const { detections } = await detector.detect(frame, options);
      await detector.close();

      const pad = (side: number) => side + ((32 - (side % 32)) % 32);
      const input: Size = { width: pad(frame.width), height: pad(frame.height) };
      const outputs = await runNaively(model.path, frame, {
        ...{ input, left: 0, top: 0, padding: 0, bgr: true, divisor: 1 },
      });
      const value = (name: string, at: number) => outputs[name]?.[at] ?? Number.NaN;
      const boxes: NaiveBox[] = [];
      for (const stride of [8, 16, 32]) {
        let cell = 0;
        for (let row = 0; row < input.height / stride; row++) {
          for (let column = 0; column < input.width / stride; column++, cell++) {
            const cls = toUnit(value(`cls_${stride}`, cell));
            const score = Math.sqrt(cls * toUnit(value(`obj_${stride}`, cell)));
            if (score < confidence) continue;
            const box = (side: number) => value(`bbox_${stride}`, cell * 4 + side);
            const centreX = (column + box(0)) * stride;
            const centreY = (row + box(1)) * stride;
            const width = Math.exp(box(2)) * stride;
            const height = Math.exp(box(3)) * stride;
            const [x1, y1] = [centreX - width / 2, centreY - height / 2];
            boxes.push({ x1, y1, x2: x1 + width, y2: y1 + height, score, classId: 0 });
          }
        }
      }
      const expected = suppressNaively(boxes, 0.3, frame);
      expect(expected.length).toBeGreaterThan(0);
      expectSame(detections, expected);
    });

    it.each([
      [street, 0.05, 0.45],
      [street, 0.3, 0.65],
      [crowd, 0.1, 0.2],
    ])('yolox_nano on %s from confidence %d, NMS %d', async (path, confidence, nms) => {
      const model = await readyModel('yolox_nano');
      const detector = await createDetector(model, SETTINGS);
      const options = optionsOf(model, { confidence, nms, maxDetections: 1000 });
      const frame = await frameOf(path, detector.frameSize(await sizeOf(path), options));
      expect(Math.max(frame.width, frame.height)).toBe(416);
      const { detections } = await detector.detect(frame, options);
      await detector.close();

      const { output = new Float32Array() } = await runNaively(model.path, frame, {
        ...{ input: { width: 416, height: 416 }, left: 0, top: 0, padding: 114, bgr: true, divisor: 1 },
      });
      const grid: [x: number, y: number, stride: number][] = [];
      for (const stride of [8, 16, 32]) {
        for (let y = 0; y < 416 / stride; y++) for (let x = 0; x < 416 / stride; x++) grid.push([x, y, stride]);
      }
      expect(output).toHaveLength(grid.length * 85);
      const boxes: NaiveBox[] = [];
      grid.forEach(([gridX, gridY, stride], row) => {
        const values = [...output.subarray(row * 85, (row + 1) * 85)];
        const [x = 0, y = 0, logWidth = 0, logHeight = 0, objectness = 0, ...classes] = values;
        const best = Math.max(...classes);
        const score = objectness * best;
        if (score < confidence) return;
        const width = Math.exp(logWidth) * stride;
        const height = Math.exp(logHeight) * stride;
        const x1 = (x + gridX) * stride - width / 2;
        const y1 = (y + gridY) * stride - height / 2;
        boxes.push({ x1, y1, x2: x1 + width, y2: y1 + height, score, classId: classes.indexOf(best) });
      });
      const expected = suppressNaively(boxes, nms, frame);
      expect(expected.length).toBeGreaterThan(2);
      expectSame(detections, expected);
    });
  },
);
