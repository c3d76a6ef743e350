import { parse } from 'node:querystring';
import { beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../../../src/errors.ts';
import { createCatalog, type ModelCatalog } from '../../../src/models/catalog.ts';
import { chooseModel, completeOptions, readDetectionRequest } from '../../../src/web/request-options.ts';
import { requireShared } from '../../support/shared.ts';
import { makeFolders, pullModels, testConfig } from '../../support/web.ts';

/** As Express' simple query parser gives them. */
const fromQuery = (query: string, prefer?: string) =>
  readDetectionRequest('image', { ...parse(query) }, undefined, prefer);

function refusal(run: () => unknown): { code: string; message: string; details: unknown[] | undefined } {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, message: error.message, details: error.details };
    throw error;
  }
  throw new Error('It was not refused.');
}

describe('options as text', () => {
  it.each<[string, object]>([
    ['', {}],
    ['model=yunet', { model: 'yunet' }],
    ['confidence=0', { confidence: 0 }],
    ['confidence=1', { confidence: 1 }],
    ['confidence=.25', { confidence: 0.25 }],
    ['confidence=2.5e-1', { confidence: 0.25 }],
    ['confidence=%200.5%20', { confidence: 0.5 }],
    ['nms=0.45', { nms: 0.45 }],
    ['classes=person', { classes: ['person'] }],
    ['classes=person,%20traffic%20light,', { classes: ['person', 'traffic light'] }],
    ['max_detections=1', { max_detections: 1 }],
    ['max_detections=1000', { max_detections: 1000 }],
    ['input_size=320', { input_size: 320 }],
    ['input_size=1280', { input_size: 1280 }],
    ['annotate=auto', { annotate: 'auto' }],
    ['annotate=true', { annotate: 'true' }],
    ['annotate=false', { annotate: 'false' }],
    ['priority=0', { priority: 0 }],
    ['priority=9', { priority: 9 }],
  ])('"%s" is taken', (query, options) => {
    expect(fromQuery(query)).toEqual({ options, waitMs: undefined });
  });

  it.each<[string, string]>([
    ['colour=red', 'colour'],
    ['Confidence=0.5', 'Confidence'],
    ['callback_url=http://example.org', 'callback_url'],
    ['frame_skip=5', 'frame_skip'],
    ['start=0', 'start'],
    ['track=true', 'track'],
    ['__proto__=1', '__proto__'],
    ['constructor=1', 'constructor'],
    ['confidence[]=0.5', 'confidence[]'],
    ['confidence=0.5&confidence=0.5', 'confidence'],
    ['classes=a&classes=b', 'classes'],
    ['confidence=', 'confidence'],
    ['confidence=high', 'confidence'],
    ['confidence=NaN', 'confidence'],
    ['confidence=Infinity', 'confidence'],
    ['confidence=1e400', 'confidence'],
    ['confidence=-0.1', 'confidence'],
    ['confidence=1.0001', 'confidence'],
    ['confidence=0,5', 'confidence'],
    ['confidence=0x1', 'confidence'],
    ['nms=2', 'nms'],
    ['nms=', 'nms'],
    ['classes=', 'classes'],
    ['classes=,%20,', 'classes'],
    ['max_detections=0', 'max_detections'],
    ['max_detections=1001', 'max_detections'],
    ['max_detections=1.5', 'max_detections'],
    ['max_detections=1e2', 'max_detections'],
    ['max_detections=99999999999999999999', 'max_detections'],
    ['input_size=319', 'input_size'],
    ['input_size=288', 'input_size'],
    ['input_size=321', 'input_size'],
    ['input_size=1312', 'input_size'],
    ['annotate=yes', 'annotate'],
    ['annotate=True', 'annotate'],
    ['annotate=', 'annotate'],
    ['priority=10', 'priority'],
    ['priority=-1', 'priority'],
    ['priority=high', 'priority'],
    ['model=', 'model'],
    ['model=..%2f..%2fetc', 'model'],
    ['wait=soon', 'wait'],
    ['wait=-1', 'wait'],
    ['wait=', 'wait'],
    ['wait=1&wait=2', 'wait'],
  ])('"%s" is refused by the name of %s', (query, option) => {
    const { code, message, details } = refusal(() => fromQuery(query));
    expect(code).toBe('INVALID_OPTION');
    expect(message).toMatch(/^Option .*\.$/);
    expect(message).toContain(option);
    expect(details).toEqual([{ option, message: expect.any(String) }]);
  });

  it('names everything that is wrong', () => {
    const { details } = refusal(() => fromQuery('confidence=2&colour=red&priority=x'));
    expect(details).toEqual([
      { option: 'confidence', message: 'must be between 0 and 1' },
      { option: 'priority', message: 'must be a whole number' },
      { option: 'colour', message: 'is not known' },
    ]);
  });

  it('are the same in the form', () => {
    const form = Object.assign(Object.create(null), { confidence: '0.7', nms: '0.4' });
    expect(readDetectionRequest('image', { nms: '0.4', priority: '9' }, form, undefined).options).toEqual({
      confidence: 0.7,
      nms: 0.4,
      priority: 9,
    });
  });

  it('must not say one thing in the form and another in the query', () => {
    const { code, details } = refusal(() => readDetectionRequest('image', { nms: '0.4' }, { nms: '0.5' }, undefined));
    expect([code, details]).toEqual([
      'INVALID_OPTION',
      [{ option: 'nms', message: 'has one value in the form and another in the query' }],
    ]);
  });

  it('cannot hide in the form under a name that every object has', () => {
    const form: Record<string, unknown> = Object.create(null);
    Object.defineProperty(form, '__proto__', { value: 'x', enumerable: true });
    expect(refusal(() => readDetectionRequest('image', {}, form, undefined)).code).toBe('INVALID_OPTION');
  });

  it.each<[string, string | undefined, number | undefined]>([
    ['', undefined, undefined],
    ['', 'wait=10', 10_000],
    ['', 'respond-async, wait=5', 5_000],
    ['', 'Wait = "7"; foo', 7_000],
    ['', 'wait=600', 60_000],
    ['', 'wait=soon', undefined],
    ['', 'await=10', undefined],
    ['wait=0', undefined, 0],
    ['wait=2.5', undefined, 2_500],
    ['wait=61', undefined, 60_000],
    ['wait=1', 'wait=20', 1_000],
  ])('?%s with Prefer: %s waits %s ms', (query, prefer, waitMs) => {
    expect(fromQuery(query, prefer).waitMs).toBe(waitMs);
  });
});

describe.skipIf(!requireShared())('models and defaults', () => {
  let catalog: ModelCatalog;
  let models: string;
  beforeAll(async () => {
    const folders = await makeFolders();
    models = folders.models;
    await pullModels(models, ['yunet', 'haar', 'yolox_nano']);
    catalog = createCatalog(models, testConfig(folders).paths.manifest);
  });
  const settings = (env: Record<string, string> = {}) =>
    testConfig({ root: '/x', uploads: '/x', tmp: '/x', models, logs: '/x' }, env);

  it('auto is yunet for faces and yolox_nano for objects where yolox_tiny is missing', async () => {
    expect((await chooseModel('face', undefined, catalog, settings().models)).name).toBe('yunet');
    expect((await chooseModel('object', 'auto', catalog, settings().models)).name).toBe('yolox_nano');
  });

  it('the environment names another default, the request another still', async () => {
    const wished = settings({ FACE_MODEL: 'haar' });
    expect((await chooseModel('face', undefined, catalog, wished.models)).name).toBe('haar');
    expect((await chooseModel('face', 'yunet', catalog, wished.models)).name).toBe('yunet');
  });

  it.each([
    ['face', 'yolox_nano', 'INVALID_OPTION', 'yunet'],
    ['object', 'yunet', 'INVALID_OPTION', 'yolox_nano'],
    ['object', 'nobody', 'INVALID_OPTION', 'yolox_nano'],
    ['object', 'yolox_s', 'MODEL_UNAVAILABLE', 'npm run models -- pull yolox_s'],
  ] as const)('%s with model %s is %s', async (kind, model, code, hint) => {
    await expect(chooseModel(kind, model, catalog, settings().models)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(hint),
    });
  });

  it('a default that is missing names the command that mends it', async () => {
    const wished = settings({ OBJECT_MODEL: 'yolox_s' });
    await expect(chooseModel('object', undefined, catalog, wished.models)).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      status: 503,
      message: expect.stringContaining('npm run models -- pull yolox_s'),
    });
  });

  it('the model fills in what request and environment leave open', async () => {
    const yunet = await chooseModel('face', undefined, catalog, settings().models);
    expect(completeOptions('face', 'image', yunet, {}, settings())).toEqual({
      model: 'yunet',
      confidence: 0.6,
      nms: 0.3,
      max_detections: 100,
      annotate: 'auto',
      priority: 5,
    });
  });

  it('request before environment before model', async () => {
    const wished = settings({
      FACE_DETECTION_CONFIDENCE: '0.8',
      OBJECT_DETECTION_CONFIDENCE: '0.2',
      NMS_THRESHOLD: '0.5',
    });
    const yunet = await chooseModel('face', undefined, catalog, wished.models);
    const yolox = await chooseModel('object', undefined, catalog, wished.models);
    expect(completeOptions('face', 'image', yunet, {}, wished)).toMatchObject({ confidence: 0.8, nms: 0.5 });
    expect(completeOptions('object', 'image', yolox, {}, wished)).toMatchObject({ confidence: 0.2, nms: 0.5 });
    expect(completeOptions('object', 'image', yolox, { confidence: 0, nms: 1 }, wished)).toMatchObject({
      confidence: 0,
      nms: 1,
    });
  });

  it('classes must be labels of the model and count once', async () => {
    const yolox = await chooseModel('object', undefined, catalog, settings().models);
    expect(completeOptions('object', 'image', yolox, { classes: ['dog', 'cat', 'dog'] }, settings()).classes).toEqual([
      'dog',
      'cat',
    ]);
    const { code, message } = refusal(() =>
      completeOptions('object', 'image', yolox, { classes: ['dog', 'unicorn'] }, settings()),
    );
    expect({ code, message }).toEqual({ code: 'INVALID_OPTION', message: expect.stringMatching(/classes.*unicorn/) });
  });

  it('input_size is for models of free shape only', async () => {
    const [yunet, yolox, haar] = await Promise.all([
      chooseModel('face', 'yunet', catalog, settings().models),
      chooseModel('object', 'yolox_nano', catalog, settings().models),
      chooseModel('face', 'haar', catalog, settings().models),
    ]);
    expect(completeOptions('face', 'image', yunet, { input_size: 320 }, settings()).input_size).toBe(320);
    expect(refusal(() => completeOptions('object', 'image', yolox, { input_size: 416 }, settings())).code).toBe(
      'INVALID_OPTION',
    );
    expect(refusal(() => completeOptions('face', 'image', haar, { input_size: 640 }, settings())).code).toBe(
      'INVALID_OPTION',
    );
  });
});
