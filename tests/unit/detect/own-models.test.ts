import { readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tryOut } from '../../../src/detect/onnx.ts';
import { createDetector } from '../../../src/detect/registry.ts';
import { addModel } from '../../../src/models/add.ts';
import { createCatalog } from '../../../src/models/catalog.ts';
import { type Manifest, readManifest } from '../../../src/models/manifest.ts';
import { iou } from '../../support/boxes.ts';
import { GOOD_PERSON } from '../../support/pictures.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';
import { detectIn, MANIFEST_PATH, optionsOf, plainFrame, SETTINGS } from './pictures.ts';

type Kept = { input: number; kept_after_nms: { label: string; score: number; xyxy: number[] }[] };

/** The layout fixtures that are to be refused, and those that are to be read. */
function fixtures() {
  if (!requireShared()) return { refused: [], read: [] };
  const expected: Record<string, Kept | { refuse: true }> = JSON.parse(
    readFileSync(sharedPath('models/layouts/expected.json'), 'utf8'),
  );
  const entries = Object.entries(expected);
  return {
    refused: entries.filter(([, expectation]) => 'refuse' in expectation).map(([file]) => file),
    read: entries.flatMap(([file, expectation]) => ('refuse' in expectation ? [] : [[file, expectation] as const])),
  };
}

const { refused, read } = fixtures();

describe.skipIf(!requireShared())('models of one’s own', { timeout: 60_000 }, () => {
  let shipped: Manifest;
  let modelsDir: string;

  beforeAll(async () => {
    shipped = await readManifest(MANIFEST_PATH);
    modelsDir = tempDir('models');
  });

  const add = (file: string, changes: { name?: string; labels?: string[]; dir?: string } = {}) =>
    addModel({
      file,
      name: changes.name,
      labels: changes.labels,
      modelsDir: changes.dir ?? modelsDir,
      shipped,
      tryOut,
    });

  async function load(name: string, dir = modelsDir) {
    const model = await createCatalog(dir, MANIFEST_PATH).find(name);
    if (model === undefined) throw new Error(`${name} is not ready`);
    return { model, detector: await createDetector(model, SETTINGS) };
  }

  it.each(refused)('refuses %s with a sentence, and leaves nothing behind', async (file) => {
    const dir = tempDir('refused');
    const error = await add(sharedPath(`models/layouts/${file}`), { dir }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'StartError', message: expect.stringMatching(/ is refused: .{20,}\.$/) });
    expect((error as Error).message).not.toContain('/');
    expect(await readdir(dir)).toEqual([]);
  });

  it.each(read)('gives the expected boxes of %s', async (file, expected) => {
    const half = file.includes('half');
    const entry = await add(sharedPath(`models/layouts/${file}`));
    const { model, detector } = await load(entry.name);
    const size = { width: expected.input, height: expected.input };
    expect(detector.frameSize({ width: 100, height: 100 }, optionsOf(model))).toEqual(size);
    const { detections } = await detector.detect(plainFrame(size), optionsOf(model));
    expect(detections.map(({ label }) => label)).toEqual(expected.kept_after_nms.map(({ label }) => label));
    for (const [index, { score, xyxy }] of expected.kept_after_nms.entries()) {
      const box = detections[index];
      expect(box?.confidence).toBeCloseTo(score, half ? 3 : 5);
      const corners = box && [box.x, box.y, box.x + box.width, box.y + box.height];
      corners?.forEach((corner, side) => {
        expect(Math.abs(corner - (xyxy[side] ?? Number.NaN))).toBeLessThan(half ? 0.3 : 0.001);
      });
    }
    await detector.close();
  });

  it('moves boxes from the letterbox into a wide frame and cuts them off there', async () => {
    // The fixture answers (96, 64)-(224, 256) and (320, 320)-(576, 448) whatever it sees. A frame of 640x320 lies
    // 160 pixels below the input's top, a frame of 320x640 160 to the right.
    await add(sharedPath('models/layouts/v8-coco-640.onnx'), { name: 'boxes' });
    const { model, detector } = await load('boxes');
    const frame = detector.frameSize({ width: 1280, height: 640 }, optionsOf(model));
    expect(frame).toEqual({ width: 640, height: 320 });
    const { detections } = await detector.detect(plainFrame(frame), optionsOf(model));
    const close = (value: number) => expect.closeTo(value, 3);
    expect(detections).toMatchObject([
      { label: 'person', x: close(96), y: 0, width: close(128), height: close(96) },
      { label: 'dog', x: close(320), y: close(160), width: close(256), height: close(128) },
    ]);
    const tall = { width: 320, height: 640 };
    const others = await detector.detect(plainFrame(tall), optionsOf(model));
    expect(others.detections).toMatchObject([
      { label: 'person', x: 0, y: close(64), width: close(64), height: close(192) },
      { label: 'dog', x: close(160), y: close(320), width: close(160), height: close(128) },
    ]);
    await detector.close();
  });

  it('looks with the size asked for where the shape is free', async () => {
    await add(sharedPath('models/layouts/v8-dynamic.onnx'), { name: 'free' });
    const { model, detector } = await load('free');
    expect(model.input).toEqual({ width: 640, height: 640, free: true });
    const picture = { width: 2000, height: 1000 };
    expect(detector.frameSize(picture, optionsOf(model))).toEqual({ width: 640, height: 320 });
    const large = optionsOf(model, { inputSize: 1280 });
    expect(detector.frameSize(picture, large)).toEqual({ width: 1280, height: 640 });
    const { detections } = await detector.detect(plainFrame({ width: 1280, height: 640 }), large);
    expect(detections.map(({ label }) => label)).toEqual(['person', 'dog']);
    await detector.close();
  });

  it('suppresses doubles as the request says', async () => {
    await add(sharedPath('models/layouts/v5-coco-640.onnx'), { name: 'doubles' });
    const { model, detector } = await load('doubles');
    const frame = plainFrame({ width: 640, height: 640 });
    const { detections } = await detector.detect(frame, optionsOf(model, { nms: 1 }));
    expect(detections.map(({ label }) => label).toSorted()).toEqual(['dog', 'dog', 'person']);
    await detector.close();
  });

  it.each([
    ['yolov8n_int8', 'yolov8'],
    ['yolo26n_int8', 'end-to-end'],
  ])('reads a real export: %s', async (name, layout) => {
    const entry = await add(sharedPath(`models/test-only-agpl/${name}.onnx`));
    expect(entry).toMatchObject({ layout, task: 'object', labels: shipped.labelSets.coco80 });
    expect(entry.licence).toContain('AGPL-3.0');
    const { model, detector } = await load(name);
    const dog = await detectIn(detector, sharedPath('data/samples/dog.jpg'), optionsOf(model));
    expect(dog.map(({ label }) => label)).toEqual(expect.arrayContaining(['dog', 'bicycle']));
    const person = await detectIn(detector, sharedPath('data/bad/image/good.jpg'), optionsOf(model));
    expect(person.map(({ label }) => label)).toEqual(['person']);
    expect(person[0] && iou(person[0], GOOD_PERSON)).toBeGreaterThan(0.8);
    await detector.close();
  });

  it('takes in face models too, of fixed size as well', async () => {
    const entry = await add(sharedPath('models/yunet_n_640_640.onnx'), { name: 'fixed_faces' });
    expect(entry).toMatchObject({ task: 'face', family: 'yunet', input: { width: 640, height: 640, free: false } });
    const { model, detector } = await load('fixed_faces');
    const found = await detectIn(detector, sharedPath('data/bad/image/good.jpg'), optionsOf(model));
    expect(found).toHaveLength(1);
    await detector.close();
  });

  it('takes labels from the user before those of the model', async () => {
    const entry = await add(sharedPath('models/layouts/v8-three-classes-320.onnx'), {
      name: 'renamed',
      labels: ['a', 'b', 'c'],
    });
    expect(entry.labels).toEqual(['a', 'b', 'c']);
    await expect(
      add(sharedPath('models/layouts/v8-three-classes-320.onnx'), { name: 'too_few', labels: ['a', 'b'] }),
    ).rejects.toThrow('It has 3 classes, but the labels given are 2');
  });

  it('refuses names that are taken or none', async () => {
    const file = sharedPath('models/layouts/v8-coco-640.onnx');
    await expect(add(file, { name: 'yolox_nano' })).rejects.toThrow('The name yolox_nano is taken');
    await expect(add(file, { name: 'auto' })).rejects.toThrow('The name auto is taken');
    await expect(add(file, { name: '../up' })).rejects.toThrow('is no name for a model');
    // Its file would be the shipped yunet's.
    await expect(add(file, { name: 'yunet_n_dynamic' })).rejects.toThrow('file name yunet_n_dynamic.onnx is taken');
    await expect(add(sharedPath('models/none.onnx'))).rejects.toThrow('cannot be read (ENOENT)');
  });

  it('replaces a model of the same name, and makes a name of an odd file name', async () => {
    const dir = tempDir('replace');
    const odd = join(tempDir('odd'), '-My own (best) modèl.ONNX');
    await copyFile(sharedPath('models/layouts/v8-coco-640.onnx'), odd);
    expect((await add(odd, { dir })).name).toBe('My_own_best_mod_l');
    const first = await add(sharedPath('models/layouts/v8-coco-640.onnx'), { dir, name: 'mine' });
    const second = await add(sharedPath('models/layouts/v5-coco-640.onnx'), { dir, name: 'mine' });
    expect([first.layout, second.layout]).toEqual(['yolov8', 'yolov5']);
    const known = await createCatalog(dir, MANIFEST_PATH).ready();
    expect(known.map(({ name, layout }) => [name, layout])).toEqual([
      ['My_own_best_mod_l', 'yolov8'],
      ['mine', 'yolov5'],
    ]);
    expect((await readdir(dir)).toSorted()).toEqual(['My_own_best_mod_l.onnx', 'added.json', 'mine.onnx']);
    expect((await stat(join(dir, 'mine.onnx'))).size).toBe(second.bytes);
  });

  it('touches nothing when the list of added models is broken', async () => {
    const dir = tempDir('broken');
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'added.json'), '{"version": 1');
    await expect(add(sharedPath('models/layouts/v8-coco-640.onnx'), { dir })).rejects.toThrow('is not valid JSON');
    expect(await readdir(dir)).toEqual(['added.json']);
    expect(await readFile(join(dir, 'added.json'), 'utf8')).toBe('{"version": 1');
  });

  it('refuses YOLOX whose boxes are decoded already', async () => {
    // The transposed fixture has its boxes in pixels; with 79 labels its 84 columns would be YOLOX's 5 + 79.
    const labels = Array.from({ length: 79 }, (_, index) => `class ${index}`);
    await expect(add(sharedPath('models/layouts/v8-transposed.onnx'), { name: 'decoded', labels })).rejects.toThrow(
      'boxes decoded already',
    );
  });
});
