import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BoundingBox } from '../../src/contract/results.ts';
import { call, ended, expectError, getTask, post, submit } from '../support/api.ts';
import { iou } from '../support/boxes.ts';
import { GOOD_FACE, GOOD_PERSON, GOOD_SIZE, goodPicture, sharedFile } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { startAnotherWeb, startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const ORIGINAL = /^\/api\/uploads\/([0-9a-f]{32})\.jpg$/;

const TIMINGS = ['wait', 'decode', 'inference', 'postprocess', 'annotate', 'total'];

const isInside = ({ x, y, width, height }: BoundingBox) =>
  [x, y, width, height].every(Number.isInteger) &&
  x >= 0 &&
  y >= 0 &&
  width >= 1 &&
  height >= 1 &&
  x + width <= GOOD_SIZE.width &&
  y + height <= GOOD_SIZE.height;

describe.skipIf(!requireShared())('POST /api/detect', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ models: ['yunet', 'haar', 'yolox_nano'] });
  });
  afterAll(() => web?.stop());

  const stored = () => storedIn(web.folders);
  const temporary = () => temporaryIn(web.folders);

  /** Posts, waits for the end and answers what was found. */
  async function result(route: string, fields: Record<string, string> = {}, picture = file) {
    const answer = await post(web.url, route, { file: picture, fields, query: 'wait=30' });
    expect(answer.status, answer.text).toBe(200);
    const task = await getTask(web.url, String(answer.body.data.task_id));
    expect(task.state, answer.text).toBe('SUCCESS');
    if (task.result === undefined) throw new Error('a task without result');
    return { task, result: task.result, answer };
  }

  describe('an accepted picture', () => {
    it.each([
      ['face', 'Face detection task queued. Use task_id to check status.'],
      ['object', 'Object detection task queued. Use task_id to check status.'],
    ])('is answered 202 with the task to ask for: %s', async (kind, message) => {
      const answer = await post(web.url, `${kind}/image`, { file });
      expect(answer.status).toBe(202);
      expect(answer.body).toEqual({
        success: true,
        timestamp: expect.any(String),
        data: { task_id: expect.stringMatching(UUID), status: 'queued', message },
      });
      expect(answer.headers.get('location')).toBe(`/api/task/${answer.body.data.task_id}`);
      await ended(web.url, String(answer.body.data.task_id));
    });

    it('becomes faces', async () => {
      const { task, result: found } = await result('face/image');
      expect(task).toEqual({
        task_id: expect.stringMatching(UUID),
        state: 'SUCCESS',
        status: expect.any(String),
        queue: 'face_detection',
        worker: 'face_worker_1',
        attempts: 1,
        created_at: expect.any(String),
        started_at: expect.any(String),
        finished_at: expect.any(String),
        options: { model: 'yunet', confidence: 0.6, nms: 0.3, max_detections: 100, annotate: 'auto', priority: 5 },
        result: expect.any(Object),
      });
      expect(found).toEqual({
        success: true,
        faces_detected: 1,
        faces: [
          {
            face_id: 1,
            bbox: expect.any(Object),
            confidence: expect.any(Number),
            landmarks: Object.fromEntries(
              ['right_eye', 'left_eye', 'nose', 'mouth_right', 'mouth_left'].map((point) => [
                point,
                { x: expect.any(Number), y: expect.any(Number) },
              ]),
            ),
          },
        ],
        annotated_image: expect.stringMatching(/^\/api\/uploads\/[0-9a-f]{32}_annotated\.jpg$/),
        original_image: expect.stringMatching(ORIGINAL),
        image: GOOD_SIZE,
        model: 'yunet',
        timings_ms: Object.fromEntries(TIMINGS.map((part) => [part, expect.any(Number)])),
      });
      const [face] = 'faces' in found ? found.faces : [];
      if (face?.landmarks === undefined) throw new Error('no face');
      expect(isInside(face.bbox)).toBe(true);
      expect(iou(face.bbox, GOOD_FACE)).toBeGreaterThanOrEqual(0.5);
      expect(face.confidence).toBeGreaterThan(0.6);
      expect(face.confidence).toBeLessThanOrEqual(1);
      // The subject looks at us: the right eye is on the left, the mouth below the nose, the nose below the eyes.
      const { right_eye, left_eye, nose, mouth_left } = face.landmarks;
      expect(right_eye.x).toBeLessThan(left_eye.x);
      expect(nose.y).toBeGreaterThan(right_eye.y);
      expect(mouth_left.y).toBeGreaterThan(nose.y);
      const { total, ...parts } = found.timings_ms;
      for (const ms of Object.values(parts)) expect(ms).toBeGreaterThanOrEqual(0);
      expect(total).toBeGreaterThanOrEqual(parts.decode + parts.inference + parts.postprocess);
      const times = [task.created_at, task.started_at, task.finished_at].map((time) => Date.parse(time ?? ''));
      expect(times).toEqual([...times].sort((a, b) => a - b));
    });

    it('becomes objects', async () => {
      const { task, result: found } = await result('object/image');
      expect(task).toMatchObject({
        queue: 'object_detection',
        worker: 'object_worker_1',
        options: { model: 'yolox_nano', confidence: 0.3, nms: 0.45 },
      });
      expect(found).toEqual({
        success: true,
        objects_detected: 1,
        objects: [{ class: 'person', class_id: 0, confidence: expect.any(Number), bbox: expect.any(Object) }],
        annotated_image: expect.any(String),
        original_image: expect.stringMatching(ORIGINAL),
        image: GOOD_SIZE,
        model: 'yolox_nano',
        timings_ms: expect.any(Object),
      });
      const [person] = 'objects' in found ? found.objects : [];
      if (person === undefined) throw new Error('nobody');
      expect(isInside(person.bbox)).toBe(true);
      expect(iou(person.bbox, GOOD_PERSON)).toBeGreaterThanOrEqual(0.5);
    });

    it('has its faces numbered by falling confidence', async () => {
      const { result: found } = await result('face/image', {}, sharedFile('faces-points/images/000_5.jpg'));
      const faces = 'faces' in found ? found.faces : [];
      expect(faces.length).toBe(5);
      expect(faces.map((face) => face.face_id)).toEqual(faces.map((_, index) => index + 1));
      expect(faces.map((face) => face.confidence)).toEqual(faces.map((face) => face.confidence).sort((a, b) => b - a));
    });
  });

  describe('options', () => {
    it.each([
      ['form', (fields: Record<string, string>) => ({ fields })],
      ['query', (fields: Record<string, string>) => ({ query: new URLSearchParams(fields).toString() })],
    ])('come by %s', async (_where, given) => {
      const options = {
        model: 'yunet',
        confidence: '0.45',
        nms: '0.4',
        classes: 'face',
        max_detections: '7',
        input_size: '320',
        annotate: 'false',
        priority: '9',
      };
      const id = await submit(web.url, 'face/image', { file, ...given(options) });
      const task = await ended(web.url, id);
      expect(task.options).toEqual({
        model: 'yunet',
        confidence: 0.45,
        nms: 0.4,
        classes: ['face'],
        max_detections: 7,
        input_size: 320,
        annotate: 'false',
        priority: 9,
      });
      expect(task.result).toMatchObject({ faces_detected: 1, annotated_image: null });
    });

    it('confidence leaves out what is less certain', async () => {
      expect((await result('object/image', { confidence: '0.999' })).result).toMatchObject({ objects_detected: 0 });
    });

    it('classes leaves out the others', async () => {
      const horses = sharedFile('samples/dog.jpg');
      const all = (await result('object/image', {}, horses)).result;
      const dogs = (await result('object/image', { classes: 'dog' }, horses)).result;
      const classes = (found: typeof all) => ('objects' in found ? found.objects.map((object) => object.class) : []);
      expect(new Set(classes(all))).toContain('bicycle');
      expect(new Set(classes(dogs))).toEqual(new Set(['dog']));
    });

    it('max_detections keeps the best', async () => {
      const all = (await result('object/image', {}, sharedFile('samples/dog.jpg'))).result;
      const one = (await result('object/image', { max_detections: '1' }, sharedFile('samples/dog.jpg'))).result;
      if (!('objects' in all && 'objects' in one)) throw new Error('not objects');
      expect(all.objects.length).toBeGreaterThan(1);
      expect(one.objects).toEqual(all.objects.slice(0, 1));
    });

    it('model chooses another detector', async () => {
      const { result: found } = await result('face/image', { model: 'haar' });
      expect(found).toMatchObject({ model: 'haar', faces_detected: 1 });
      const [face] = 'faces' in found ? found.faces : [];
      expect(face).not.toHaveProperty('landmarks');
      expect(face?.confidence).toBeGreaterThan(0);
      expect(face?.confidence).toBeLessThan(1);
    });
  });

  describe('a refused request', () => {
    let before: string[];
    beforeEach(() => {
      before = stored();
    });

    it.each([
      ['confidence', '1.5'],
      ['confidence', 'NaN'],
      ['confidence', '1e400'],
      ['nms', ''],
      ['max_detections', '0'],
      ['input_size', '333'],
      ['annotate', 'maybe'],
      ['priority', '10'],
      ['colour', 'red'],
      ['callback_url', 'https://example.org/'],
      ['frame_skip', '5'],
      ['model', 'yolox_nano'],
      ['model', 'unheard-of'],
      ['classes', 'unicorn'],
      ['__proto__', 'x'],
      ['confidence[a]', '0.5'],
    ])('names the option %s=%s in form and query', async (name, value) => {
      const byForm = await post(web.url, 'face/image', { file, fields: { [name]: value } });
      const byQuery = await post(web.url, 'face/image', {
        file,
        query: new URLSearchParams([[name, value]]).toString(),
      });
      for (const answer of [byForm, byQuery]) {
        expectError(answer, 400, 'INVALID_OPTION');
        expect(answer.body.message).toContain(name);
        expect(answer.body.details).toEqual([{ option: name, message: expect.any(String) }]);
      }
      expect(stored()).toEqual(before);
      expect(temporary()).toEqual([]);
    });

    it('names an option that was given twice', async () => {
      const twice: [string, string][] = [
        ['confidence', '0.5'],
        ['confidence', '0.5'],
      ];
      for (const answer of [
        await post(web.url, 'face/image', { file, fields: twice }),
        await post(web.url, 'face/image', { file, query: 'confidence=0.5&confidence=0.5' }),
      ]) {
        expectError(answer, 400, 'INVALID_OPTION');
        expect(answer.body.message).toContain('confidence');
      }
    });

    it('cannot choose the input size of a model that has its own', async () => {
      expectError(await post(web.url, 'object/image', { file, query: 'input_size=416' }), 400, 'INVALID_OPTION');
    });

    it.each<[string, Parameters<typeof post>[2]]>([
      ['no field file', { fields: { annotate: 'auto' } }],
      ['text in the field file', { fields: { file: 'picture' } }],
      ['an empty file', { file: new Uint8Array() }],
    ])('with %s is NO_FILE', async (_what, upload) => {
      expectError(await post(web.url, 'face/image', upload), 400, 'NO_FILE');
      expect(stored()).toEqual(before);
      expect(temporary()).toEqual([]);
    });

    it('with another body than multipart is NO_FILE', async () => {
      const url = `${web.url}/api/detect/face/image`;
      for (const [type, body] of [
        ['application/json', '{"file":"x"}'],
        ['image/jpeg', file],
        ['application/x-www-form-urlencoded', 'file=x'],
      ] as const) {
        expectError(await call(url, { method: 'POST', body, headers: { 'content-type': type } }), 400, 'NO_FILE');
      }
      expectError(await call(url, { method: 'POST' }), 400, 'NO_FILE');
    });
  });

  describe('waiting for the end', () => {
    it('answers the task as GET shows it', async () => {
      const answer = await post(web.url, 'face/image', { file, headers: { Prefer: 'wait=20' } });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('preference-applied')).toBe('wait=20');
      expect(answer.body.data).toMatchObject({ state: 'SUCCESS', result: { faces_detected: 1 } });
      expect(answer.headers.get('location')).toBe(`/api/task/${answer.body.data.task_id}`);
      expect(await getTask(web.url, String(answer.body.data.task_id))).toEqual(answer.body.data);
    });

    it('comes at once with the end, not with the next look', async () => {
      await post(web.url, 'face/image', { file, query: 'wait=20' });
      const times: number[] = [];
      for (let i = 0; i < 5; i++) {
        const { ms } = await post(web.url, 'face/image', { file, query: 'wait=20' });
        times.push(ms);
      }
      // The looks are a second apart.
      expect(Math.min(...times)).toBeLessThan(900);
    });

    it('of no length answers 202', async () => {
      const answer = await post(web.url, 'face/image', { file, query: 'wait=0' });
      expect(answer.status).toBe(202);
      await ended(web.url, String(answer.body.data.task_id));
    });

    it('by a client that hangs up does not end the task', async () => {
      const before = new Set(stored());
      const gone = AbortSignal.timeout(60);
      await post(web.url, 'object/image', { file, query: 'wait=20&confidence=0.31', signal: gone }).catch(
        () => undefined,
      );
      const list = await call(`${web.url}/api/tasks?limit=1`);
      const [newest] = list.body.data.tasks as { task_id: string; options: { confidence: number } }[];
      if (newest?.options.confidence !== 0.31) {
        // The client was gone before its upload was complete: then there is neither task nor file.
        expect(new Set(stored())).toEqual(before);
        return;
      }
      expect((await ended(web.url, newest.task_id)).state).toBe('SUCCESS');
    });
  });

  describe('Idempotency-Key', () => {
    const withKey = (key: string) => ({ headers: { 'Idempotency-Key': key } });

    it('gives the same request the same task, wherever its options stand', async () => {
      const before = stored().length;
      const first = await post(web.url, 'face/image', {
        file,
        fields: { confidence: '0.5', nms: '0.4' },
        ...withKey('same'),
      });
      const second = await post(web.url, 'face/image', { file, query: 'nms=0.4&confidence=0.5', ...withKey('same') });
      await ended(web.url, String(first.body.data.task_id));
      const third = await post(web.url, 'face/image', {
        file,
        name: 'other-name.png',
        query: 'nms=0.4&confidence=0.5&wait=10',
        ...withKey('same'),
      });
      expect([first.status, second.status, third.status]).toEqual([202, 202, 200]);
      expect(new Set([first, second, third].map(({ body }) => body.data.task_id)).size).toBe(1);
      expect(stored().length).toBe(before + 1);
    });

    it('refuses another file, route or options', async () => {
      await submit(web.url, 'face/image', { file, ...withKey('once') });
      const before = stored();
      const others = [
        await post(web.url, 'face/image', { file: sharedFile('bad/image/good.png'), ...withKey('once') }),
        await post(web.url, 'object/image', { file, ...withKey('once') }),
        await post(web.url, 'face/image', { file, query: 'confidence=0.7', ...withKey('once') }),
      ];
      for (const answer of others) expectError(answer, 422, 'IDEMPOTENCY_MISMATCH');
      expect(stored()).toEqual(before);
    });

    it('makes one task of many requests at the same time', async () => {
      const before = stored().length;
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => post(web.url, 'face/image', { file, ...withKey('crowd') })),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
      const ids = new Set(answers.map(({ body }) => String(body.data.task_id)));
      expect(ids.size).toBe(1);
      for (const id of ids) expect(await ended(web.url, id)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
      expect(stored().length).toBe(before + 1);
      expect(temporary()).toEqual([]);
    });

    it('holds over several web processes', async () => {
      const before = stored().length;
      const other = await startAnotherWeb(web.folders, web.env);
      try {
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            post(n % 2 === 0 ? web.url : other.url, 'face/image', { file, ...withKey('two-webs') }),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
        const ids = new Set(answers.map(({ body }) => String(body.data.task_id)));
        expect(ids.size).toBe(1);
        for (const id of ids) expect(await ended(other.url, id)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
        expect(stored().length).toBe(before + 1);
      } finally {
        await other.stop();
      }
    });

    it('of a refused request is free', async () => {
      const half = sharedFile('bad/image/bomb-header.jpg');
      expectError(await post(web.url, 'face/image', { file: half, ...withKey('free') }), 422, 'UNREADABLE_MEDIA');
      expect((await post(web.url, 'face/image', { file, ...withKey('free') })).status).toBe(202);
    });

    it('that is none is BAD_REQUEST', async () => {
      for (const key of ['x'.repeat(256), '\u00e4']) {
        expectError(await post(web.url, 'face/image', { file, ...withKey(key) }), 400, 'BAD_REQUEST');
      }
    });
  });

  describe('the environment', () => {
    it('overrides the model', async () => {
      const env = { FACE_MODEL: 'haar', OBJECT_DETECTION_CONFIDENCE: '0.995', NMS_THRESHOLD: '0.7' };
      const other = await startAnotherWeb(web.folders, { ...web.env, ...env });
      try {
        const faces = await post(other.url, 'face/image', { file, query: 'wait=20' });
        expect(faces.body.data).toMatchObject({ options: { model: 'haar', nms: 0.7 } });
        const objects = await post(other.url, 'object/image', { file, query: 'wait=20' });
        expect(objects.body.data).toMatchObject({
          options: { confidence: 0.995, nms: 0.7 },
          result: { objects_detected: 0 },
        });
        const asked = await post(other.url, 'object/image', { file, query: 'wait=20&confidence=0.3' });
        expect(asked.body.data).toMatchObject({ options: { confidence: 0.3 }, result: { objects_detected: 1 } });
      } finally {
        await other.stop();
      }
    });

    it('MAX_CONTENT_LENGTH and MAX_IMAGE_PIXELS bound what is taken', async () => {
      const env = { MAX_CONTENT_LENGTH: String(file.length), MAX_IMAGE_PIXELS: String(320 * 280) };
      const other = await startAnotherWeb(web.folders, { ...web.env, ...env });
      try {
        const before = stored();
        expect((await post(other.url, 'face/image', { file })).status).toBe(202);
        const longer = new Uint8Array(file.length + 1);
        longer.set(file);
        expectError(await post(other.url, 'face/image', { file: longer }), 413, 'FILE_TOO_LARGE');
        const black = sharedFile('bad/image/black.jpg');
        expect(black.length).toBeLessThan(file.length);
        expectError(await post(other.url, 'face/image', { file: black }), 422, 'UNREADABLE_MEDIA');
        expect(stored().length).toBe(before.length + 1);
        expect(temporary()).toEqual([]);
        // A file that is not too large in a form that is, of which the length is not announced.
        const form = new FormData();
        form.set('file', new Blob([file]));
        for (let n = 0; n < 10; n++) form.set(`filler_${n}`, 'x'.repeat(16_000));
        const { body, headers } = new Response(form);
        const init = { method: 'POST', body, headers, duplex: 'half' } as const;
        expectError(await call(`${other.url}/api/detect/face/image`, init), 413, 'FILE_TOO_LARGE');
        expect(temporary()).toEqual([]);
      } finally {
        await other.stop();
      }
    });

    it('without a model answers MODEL_UNAVAILABLE with the command that mends it', async () => {
      const models = join(web.folders.root, 'no-models');
      await mkdir(models);
      const other = await startAnotherWeb({ ...web.folders, models }, web.env);
      try {
        const before = stored();
        for (const route of ['face/image', 'object/image']) {
          const answer = await post(other.url, route, { file });
          expectError(answer, 503, 'MODEL_UNAVAILABLE');
          expect(answer.body.message).toContain('npm run models -- pull');
          expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
        }
        expect(stored()).toEqual(before);
      } finally {
        await other.stop();
      }
    });
  });
});
