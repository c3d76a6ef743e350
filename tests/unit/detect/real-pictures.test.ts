import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Detection, Detector } from '../../../src/detect/detector.ts';
import { createDetector } from '../../../src/detect/registry.ts';
import type { ReadyModel } from '../../../src/models/catalog.ts';
import { iou } from '../../support/boxes.ts';
import { GOOD_FACE, GOOD_PERSON } from '../../support/pictures.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { detectIn, frameOf, optionsOf, plainFrame, readyModel, SETTINGS, sizeOf, soundIn } from './pictures.ts';

const MODELS = ['yunet', 'yunet_s', 'ultraface', 'haar', 'haar_alt2', 'yolox_nano'];

type Loaded = { model: ReadyModel; detector: Detector };

describe.skipIf(!requireShared())('real weights on real pictures', { timeout: 60_000 }, () => {
  const loaded = new Map<string, Loaded>();

  beforeAll(async () => {
    for (const name of MODELS) {
      const model = await readyModel(name);
      loaded.set(name, { model, detector: await createDetector(model, SETTINGS) });
    }
  });

  afterAll(async () => {
    for (const { detector } of loaded.values()) await detector.close();
  });

  const get = (name: string) => loaded.get(name) as Loaded;
  const good = sharedPath('data/bad/image/good.jpg');
  it.each(['yunet', 'yunet_s', 'ultraface', 'haar'])('%s finds the one face of the reference picture', async (name) => {
    const { model, detector } = get(name);
    const found = await detectIn(detector, good, optionsOf(model));
    expect(found.map(({ label }) => label)).toEqual(['face']);
    expect(iou(found[0] as Detection, GOOD_FACE)).toBeGreaterThan(0.4);
  });

  it('yolox_nano finds the one person of the reference picture', async () => {
    const { model, detector } = get('yolox_nano');
    const found = await detectIn(detector, good, optionsOf(model));
    expect(found.map(({ label, classId }) => [label, classId])).toEqual([['person', 0]]);
    expect(iou(found[0] as Detection, GOOD_PERSON)).toBeGreaterThan(0.8);
  });

  function points(): [file: string, noses: [number, number][]][] {
    return Object.entries(JSON.parse(readFileSync(sharedPath('data/faces-points/points.json'), 'utf8')).images);
  }

  const holds = (box: Detection, [x, y]: [number, number]) =>
    x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height;

  it('yunet finds every face around its nose, and nothing else', async () => {
    const { model, detector } = get('yunet');
    expect(points().flatMap(([, noses]) => noses).length).toBeGreaterThanOrEqual(15);
    for (const [file, noses] of points()) {
      const found = await detectIn(detector, sharedPath(`data/faces-points/images/${file}`), optionsOf(model));
      expect(found, file).toHaveLength(noses.length);
      for (const nose of noses) {
        const face = found.find((box) => holds(box, nose));
        expect(face, `${file}: a face around ${nose}`).toBeDefined();
        const [x, y] = face?.landmarks?.nose ?? [0, 0];
        expect(Math.hypot(x - nose[0], y - nose[1]) / (face?.width ?? 0), file).toBeLessThan(0.2);
        const { right_eye, left_eye, mouth_right, mouth_left } = face?.landmarks ?? {};
        // Nobody is upside down in these, and the subject's right is at the picture's left.
        expect((right_eye?.[0] ?? 0) < (left_eye?.[0] ?? 0)).toBe(true);
        expect((mouth_right?.[0] ?? 0) < (mouth_left?.[0] ?? 0)).toBe(true);
        expect((right_eye?.[1] ?? 0) < (mouth_right?.[1] ?? 0)).toBe(true);
      }
    }
  });

  it('haar finds most faces around their noses, and next to nothing else', async () => {
    const { model, detector } = get('haar');
    let hits = 0;
    let surplus = 0;
    for (const [file, noses] of points()) {
      const found = await detectIn(detector, sharedPath(`data/faces-points/images/${file}`), optionsOf(model));
      const hit = noses.filter((nose) => found.some((box) => holds(box, nose))).length;
      hits += hit;
      surplus += found.length - hit;
      expect(found.every(({ confidence }) => confidence >= 0 && confidence < 1)).toBe(true);
    }
    expect(hits).toBeGreaterThanOrEqual(15);
    expect(surplus).toBeLessThanOrEqual(1);
  });

  it('yolox_nano finds dog, bicycle and vehicle, by falling confidence', async () => {
    const { model, detector } = get('yolox_nano');
    const found = await detectIn(detector, sharedPath('data/samples/dog.jpg'), optionsOf(model));
    const labels = found.map(({ label }) => label);
    expect(labels).toEqual(expect.arrayContaining(['dog', 'bicycle']));
    expect(labels.some((label) => label === 'truck' || label === 'car')).toBe(true);
    const confidences = found.map(({ confidence }) => confidence);
    expect(confidences).toEqual([...confidences].sort((a, b) => b - a));
  });

  it('obeys classes, confidence and the number wanted', async () => {
    const { model, detector } = get('yolox_nano');
    const dog = sharedPath('data/samples/dog.jpg');
    const all = await detectIn(detector, dog, optionsOf(model, { confidence: 0.1 }));
    const dogs = await detectIn(detector, dog, optionsOf(model, { confidence: 0.1, classes: ['dog'] }));
    expect(dogs).toEqual(all.filter(({ label }) => label === 'dog'));
    expect(dogs.length).toBeGreaterThan(0);
    const strong = await detectIn(detector, dog, optionsOf(model, { confidence: 0.6 }));
    expect(strong).toEqual(all.filter(({ confidence }) => confidence >= 0.6));
    expect(await detectIn(detector, dog, optionsOf(model, { confidence: 0.1, maxDetections: 2 }))).toEqual(
      all.slice(0, 2),
    );
    const { model: yunet, detector: faces } = get('yunet');
    expect(await detectIn(faces, good, optionsOf(yunet, { classes: ['dog'] }))).toEqual([]);
    expect(await detectIn(faces, good, optionsOf(yunet, { classes: ['face'] }))).toHaveLength(1);
  });

  it.each(MODELS)('%s stands frames of any shape', async (name) => {
    const { model, detector } = get(name);
    for (const size of [
      { width: 1, height: 1 },
      { width: 8000, height: 2 },
      { width: 2, height: 8000 },
      { width: 31, height: 33 },
    ]) {
      const options = optionsOf(model, { confidence: 0 });
      const wanted = detector.frameSize(size, options);
      expect(Math.min(wanted.width, wanted.height)).toBeGreaterThanOrEqual(1);
      expect(Number.isInteger(wanted.width) && Number.isInteger(wanted.height)).toBe(true);
      const { detections } = await detector.detect(plainFrame(wanted), options);
      expect(detections.filter((detection) => !soundIn(wanted, detection))).toEqual([]);
      expect(detections.length).toBeLessThanOrEqual(100);
    }
  });

  it.each(['yunet', 'yolox_nano'])('%s is quick at confidence 0 and sound there', async (name) => {
    const { model, detector } = get(name);
    const options = optionsOf(model, { confidence: 0, maxDetections: 1000, nms: 0.9 });
    const frame = await frameOf(good, detector.frameSize(await sizeOf(good), options));
    const { detections, postprocessMs } = await detector.detect(frame, options);
    expect(detections.length).toBeGreaterThan(400);
    expect(detections.filter((detection) => !soundIn(frame, detection))).toEqual([]);
    expect(postprocessMs).toBeLessThan(1000);
  });

  it.each(['yunet', 'yolox_nano'])('%s answers the same whatever it saw before', async (name) => {
    const { model, detector } = get(name);
    const options = optionsOf(model, { confidence: 0.05, inputSize: name === 'yunet' ? 640 : undefined });
    const fresh = await createDetector(model, SETTINGS);
    const frame = await frameOf(good, detector.frameSize(await sizeOf(good), options));
    const first = (await fresh.detect(frame, options)).detections;
    await fresh.close();
    for (const [width, height] of [
      [300, 900],
      [900, 300],
      [900, 900],
    ] as const) {
      await detector.detect(plainFrame(detector.frameSize({ width, height }, options), 255), options);
      expect((await detector.detect(frame, options)).detections).toEqual(first);
    }
    expect(first.length).toBeGreaterThan(0);
  });

  it('refuses a frame that is larger than the input', async () => {
    const { model, detector } = get('yolox_nano');
    await expect(detector.detect(plainFrame({ width: 417, height: 10 }), optionsOf(model))).rejects.toThrow(RangeError);
  });
});

describe.skipIf(!requireShared())('createDetector', () => {
  it('says so when a model cannot be loaded, without its path', async () => {
    const model = await readyModel('yolox_nano');
    const broken = [
      { ...model, path: sharedPath('models/layouts/truncated.onnx') },
      { ...model, path: sharedPath('models/layouts/not-onnx.onnx') },
      { ...model, path: '/nowhere/at-all.onnx' },
      { ...model, family: 'haar' },
      { ...model, family: 'unheard-of' },
    ];
    for (const one of broken) {
      const error = await createDetector(one, SETTINGS).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'MODEL_UNAVAILABLE', message: expect.stringContaining('yolox_nano') });
      expect((error as Error).message).not.toContain('/');
    }
  });

  it.each(['yolox_nano', 'haar'])(
    'may be asked again for %s where the system had no file handle left',
    async (name) => {
      const model = await readyModel(name);
      const script = `
      import { openSync } from 'node:fs';
      import { createDetector } from '${new URL('../../../src/detect/registry.ts', import.meta.url).pathname}';
      const [model, settings] = JSON.parse(process.argv[1]);
      await createDetector({ ...model, path: '/nowhere' }, settings).catch(() => undefined);
      try { for (;;) openSync('/dev/null'); } catch {}
      const error = await createDetector(model, settings).catch((thrown) => thrown);
      process.exitCode = error.name === 'TransientError' ? 42 : 1;`;
      const command = 'ulimit -n 64; exec "$0" --input-type=module --eval "$1" "$2"';
      const { status } = spawnSync('sh', ['-c', command, process.execPath, script, JSON.stringify([model, SETTINGS])]);
      expect(status).toBe(42);
    },
  );

  it('works on the processor where CUDA is wanted and not there', async () => {
    const model = await readyModel('yunet');
    const detector = await createDetector(model, { ...SETTINGS, executionProviders: ['cuda', 'cpu'] });
    const found = await detectIn(detector, sharedPath('data/bad/image/good.jpg'), optionsOf(model));
    await detector.close();
    expect(found).toHaveLength(1);
  });
});
