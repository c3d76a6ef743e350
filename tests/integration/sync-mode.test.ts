import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Health } from '../../src/contract/health.ts';
import { FaceImageResult, FaceVideoResult, ObjectImageResult } from '../../src/contract/results.ts';
import { newBase } from '../../src/storage/names.ts';
import type { RunningWeb } from '../../src/web/run-web.ts';
import { call, expectError, post } from '../support/api.ts';
import { BAD_PICTURES } from '../support/bad-files.ts';
import { iou } from '../support/boxes.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { GOOD_FACE, GOOD_PERSON, GOOD_SIZE, goodPicture, sharedFile } from '../support/pictures.ts';
import { isGone } from '../support/processes.ts';
import { parseExposition, sampleValue } from '../support/prometheus.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  type Folders,
  makeFolders,
  pullModels,
  startAnotherWeb,
  startWeb,
  storedIn,
  temporaryIn,
} from '../support/web.ts';

const SYNC = { MODE: 'sync' };

describe.skipIf(!requireShared())('sync mode', () => {
  let web: RunningWeb;
  let folders: Folders;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    folders = await makeFolders();
    await pullModels(folders.models, ['yunet', 'yolox_nano']);
    web = await startAnotherWeb(folders, SYNC);
    await warm(web.url);
  });
  afterAll(() => web?.stop());

  const warm = (url: string) =>
    waitFor('the models', async () => (await call(`${url}/api/health/ready`)).status === 200, { timeoutMs: 20_000 });
  const stored = () => storedIn(folders);
  const temporary = () => temporaryIn(folders);

  describe('answers at once', () => {
    it('with faces', async () => {
      const answer = await post(web.url, 'face/image', { file });
      expect(answer.status).toBe(200);
      const { task_id, ...result } = answer.body.data;
      expect(task_id).toMatch(/^[0-9a-f-]{36}$/);
      const found = FaceImageResult.parse(result);
      expect(found).toEqual(result);
      expect(found).toMatchObject({ faces_detected: 1, image: GOOD_SIZE, model: 'yunet' });
      expect(iou(found.faces[0]?.bbox ?? GOOD_PERSON, GOOD_FACE)).toBeGreaterThanOrEqual(0.5);
      expect(answer.headers.get('location')).toBeNull();
    });

    it('with objects', async () => {
      const answer = await post(web.url, 'object/image', { file, fields: { confidence: '0.5' } });
      const { task_id: _id, ...result } = answer.body.data;
      const found = ObjectImageResult.parse(result);
      expect(found).toMatchObject({ objects_detected: 1, objects: [{ class: 'person' }] });
      expect(iou(found.objects[0]?.bbox ?? GOOD_FACE, GOOD_PERSON)).toBeGreaterThanOrEqual(0.5);
    });

    it('with what a video shows, and files for it', async () => {
      const answer = await post(web.url, 'face/video', { file: sharedFile('videos/signer-mpeg4.avi') });
      expect(answer.status).toBe(200);
      const { task_id: _id, ...result } = answer.body.data;
      const found = FaceVideoResult.parse(result);
      expect(found).toEqual(result);
      expect(found).toMatchObject({ total_frames: 89, processed_frames: 18, unique_faces: 1, truncated: false });
      const detections = await fetch(`${web.url}${found.detections_url}`);
      expect(await detections.json()).toEqual({ frames: found.frames_with_faces });
      const copy = await fetch(`${web.url}${found.annotated_video}`, { headers: { Range: 'bytes=4-7' } });
      expect([copy.status, await copy.text()]).toEqual([206, 'ftyp']);
    });

    it('with the same result as through the queue', async () => {
      const queued = await startWeb();
      try {
        for (const route of ['face/image', 'object/image']) {
          const picture = sharedFile('samples/dog.jpg');
          const [direct, task] = await Promise.all([
            post(web.url, route, { file: picture, query: 'confidence=0.2' }),
            post(queued.url, route, { file: picture, query: 'confidence=0.2&wait=30' }),
          ]);
          const one = direct.body.data;
          const other = (task.body.data as { result: Record<string, unknown> }).result;
          for (const field of ['faces', 'objects', 'image', 'model']) expect(one[field]).toEqual(other[field]);
          expect(Object.keys(one).sort()).toEqual([...Object.keys(other), 'task_id'].sort());
        }
      } finally {
        await queued.stop();
      }
    });

    it('whatever wait says', async () => {
      for (const upload of [
        { query: 'wait=0' },
        { query: 'wait=20' },
        { headers: { Prefer: 'wait=5, respond-async' } },
      ]) {
        expect((await post(web.url, 'face/image', { file, ...upload })).body.data).toMatchObject({ faces_detected: 1 });
      }
    });

    it('to many at the same time', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => post(web.url, n % 2 === 0 ? 'face/image' : 'object/image', { file })),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(new Set(answers.map(({ body }) => body.data.task_id)).size).toBe(20);
    });
  });

  describe('what goes wrong', () => {
    it.each<[string, number, string, Parameters<typeof post>[2]]>([
      ['no file', 400, 'NO_FILE', {}],
      ['a wrong option', 400, 'INVALID_OPTION', { query: 'confidence=2' }],
      ['text', 415, 'UNSUPPORTED_MEDIA_TYPE', {}],
      ['a picture with too many pixels', 422, 'UNREADABLE_MEDIA', {}],
      ['half a picture', 422, 'UNREADABLE_MEDIA', {}],
    ])('is an envelope with its status: %s', async (what, status, code, upload) => {
      const pictures: Record<string, string> = {
        'a wrong option': 'good.jpg',
        text: 'text.jpg',
        'a picture with too many pixels': 'bomb-header.jpg',
        'half a picture': 'truncated-half.png',
      };
      const before = stored();
      const name = pictures[what];
      const picture = name === undefined ? undefined : sharedFile(`bad/image/${name}`);
      expectError(await post(web.url, 'face/image', { ...upload, file: picture }), status, code);
      expect(stored()).toEqual(before);
      expect(temporary()).toEqual([]);
    });

    it('is what the manifest of bad pictures says', async () => {
      for (const { file: path, expect: wanted, status = [], error_code = [] } of BAD_PICTURES) {
        const answer = await post(web.url, 'face/image', { file: sharedFile(`bad/${path}`) });
        const said = `${path}: ${answer.text}`;
        if (wanted === 'accept') expect(answer.status, said).toBe(200);
        if (wanted === 'reject') expect(answer.status, said).not.toBe(200);
        if (answer.status === 200) continue;
        expect([...status, 422], said).toContain(answer.status);
        expect([...error_code, 'UNREADABLE_MEDIA'], said).toContain(answer.body.error_code);
      }
      expect(temporary()).toEqual([]);
    });

    it('is TIMEOUT where it takes too long; the slot is free again', async () => {
      const others = new Set(lanePids());
      const quick = await startAnotherWeb(folders, { ...SYNC, TASK_TIME_LIMIT: '1' });
      try {
        await warm(quick.url);
        const mine = lanePids().filter((pid) => !others.has(pid));
        expect(mine).toHaveLength(1);
        const before = stored();
        signalAll(mine, 'SIGSTOP');
        const answer = await post(quick.url, 'face/image', { file });
        expectError(answer, 504, 'TIMEOUT');
        expect(answer.ms).toBeLessThan(3000);
        expect(stored()).toEqual(before);
        await waitFor('the stopped process to be gone', () => mine.every(isGone));
        await waitFor('a good answer', async () => (await post(quick.url, 'face/image', { file })).status === 200);
      } finally {
        await quick.stop();
      }
    });

    it('is not TIMEOUT where it only had to wait for its turn', async () => {
      const others = new Set(lanePids());
      const quick = await startAnotherWeb(folders, { ...SYNC, TASK_TIME_LIMIT: '3' });
      try {
        await warm(quick.url);
        signalAll(
          lanePids().filter((pid) => !others.has(pid)),
          'SIGSTOP',
        );
        const first = post(quick.url, 'face/image', { file });
        await waitFor('the slot to be busy', async () => {
          const { services } = Health.parse((await call(`${quick.url}/api/health`)).body.data);
          return services.face_detection.busy === 1;
        });
        const second = await post(quick.url, 'face/image', { file });
        expectError(await first, 504, 'TIMEOUT');
        expect(second.status).toBe(200);
        expect(second.body.data.timings_ms).toMatchObject({ wait: expect.any(Number) });
      } finally {
        await quick.stop();
      }
    });

    it('is forgiven once where the detection process dies', async () => {
      const lanes = lanePids();
      signalAll(lanes, 'SIGSTOP');
      const answer = post(web.url, 'face/image', { file });
      await waitFor('the slot to be busy', async () => {
        const { services } = Health.parse((await call(`${web.url}/api/health`)).body.data);
        return services.face_detection.busy === 1;
      });
      signalAll(lanes, 'SIGKILL');
      expect((await answer).body.data).toMatchObject({ faces_detected: 1 });
    });

    it('a client that hangs up frees its slot, and its file goes', async () => {
      const before = stored();
      const lanes = lanePids();
      signalAll(lanes, 'SIGSTOP');
      const gone = new AbortController();
      const answer = post(web.url, 'face/image', { file, signal: gone.signal });
      await waitFor('its file', () => stored().length === before.length + 1);
      gone.abort();
      await expect(answer).rejects.toThrow();
      await waitFor('its file to be gone', () => stored().length === before.length);
      await waitFor('the stopped process to be gone', () => lanes.every(isGone));
      expect((await post(web.url, 'face/image', { file })).status).toBe(200);
    });

    it('QUEUE_FULL where too many wait already', async () => {
      const narrow = await startAnotherWeb(folders, { ...SYNC, MAX_QUEUE_LENGTH: '1' });
      try {
        await warm(narrow.url);
        signalAll(lanePids(), 'SIGSTOP');
        const started = [post(narrow.url, 'face/image', { file }), post(narrow.url, 'face/image', { file })];
        await waitFor('one to wait', async () => {
          const { services } = Health.parse((await call(`${narrow.url}/api/health`)).body.data);
          return services.face_detection.waiting === 1;
        });
        const before = stored();
        const refused = await post(narrow.url, 'face/image', { file });
        expectError(refused, 503, 'QUEUE_FULL');
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
        expect(stored()).toEqual(before);
        signalAll(lanePids(), 'SIGCONT');
        expect((await Promise.all(started)).map(({ status }) => status)).toEqual([200, 200]);
      } finally {
        signalAll(lanePids(), 'SIGCONT');
        await narrow.stop();
      }
    });
  });

  describe('files', () => {
    const annotatedOf = async (annotate: string) => {
      const answer = await post(web.url, 'face/image', { file, query: `annotate=${annotate}` });
      return answer.body.data as { original_image: string; annotated_image: string | null };
    };
    const load = async (path: string | null) => {
      const response = await fetch(`${web.url}${path}`);
      return {
        status: response.status,
        type: response.headers.get('content-type'),
        bytes: new Uint8Array(await response.arrayBuffer()),
      };
    };

    it('originals come back as they were', async () => {
      const { original_image } = await annotatedOf('auto');
      expect(await load(original_image)).toEqual({ status: 200, type: 'image/jpeg', bytes: file });
    });

    it('annotated copies are drawn when first asked for', async () => {
      const { annotated_image } = await annotatedOf('auto');
      const path = join(folders.uploads, annotated_image?.split('/').at(-1) ?? '');
      expect(existsSync(path)).toBe(false);
      const { status, type, bytes } = await load(annotated_image);
      expect([status, type, ...bytes.subarray(0, 2)]).toEqual([200, 'image/jpeg', 0xff, 0xd8]);
      expect(existsSync(path)).toBe(true);
    });

    it('annotated copies are there at once where asked for, and not at all where not', async () => {
      const { annotated_image } = await annotatedOf('true');
      expect(existsSync(join(folders.uploads, annotated_image?.split('/').at(-1) ?? ''))).toBe(true);
      expect((await load(annotated_image)).status).toBe(200);
      const none = await annotatedOf('false');
      expect(none.annotated_image).toBeNull();
      const path = none.original_image.replace('.jpg', '_annotated.jpg');
      expectError(await call(`${web.url}${path}`), 404, 'NOT_FOUND');
    });

    it("what is kept for drawing is nobody's to read", async () => {
      const { original_image } = await annotatedOf('auto');
      const path = original_image.replace('.jpg', '.json');
      expect(existsSync(join(folders.uploads, path.split('/').at(-1) ?? ''))).toBe(true);
      expectError(await call(`${web.url}${path}`), 404, 'NOT_FOUND');
      expectError(await call(`${web.url}/api/uploads/${newBase()}_annotated.jpg`), 404, 'NOT_FOUND');
    });

    it('go with their time', async () => {
      const place = await makeFolders();
      const short = await startAnotherWeb(
        { ...place, models: folders.models },
        { ...SYNC, UPLOAD_TTL: '1', RESULT_TTL: '1' },
      );
      try {
        await warm(short.url);
        const answer = await post(short.url, 'face/image', { file });
        await (await fetch(`${short.url}${answer.body.data.annotated_image}`)).arrayBuffer();
        const left = () => storedIn(place);
        await waitFor('everything to go', () => left().length === 0, { timeoutMs: 8000 });
        expectError(await call(`${short.url}${answer.body.data.original_image}`), 404, 'NOT_FOUND');
      } finally {
        await short.stop();
      }
    });
  });

  describe('has no tasks', () => {
    it.each([
      ['GET', '/api/task/x', 404, 'TASK_NOT_FOUND'],
      ['DELETE', '/api/task/x', 404, 'TASK_NOT_FOUND'],
      ['GET', '/api/task/x/events', 501, 'NOT_IN_SYNC_MODE'],
      ['GET', '/api/tasks', 501, 'NOT_IN_SYNC_MODE'],
      ['GET', '/metrics/scaling', 404, 'NOT_FOUND'],
    ])('%s %s is %i %s', async (method, path, status, code) => {
      expectError(await call(`${web.url}${path}`, { method }), status, code);
    });

    it('not even those it has just answered', async () => {
      const { task_id } = (await post(web.url, 'face/image', { file })).body.data;
      expectError(await call(`${web.url}/api/task/${task_id}`), 404, 'TASK_NOT_FOUND');
    });
  });

  describe('tells how it stands', () => {
    it('health without Redis is ok', async () => {
      const answer = await call(`${web.url}/api/health`);
      expect(answer.status).toBe(200);
      expect(Health.parse(answer.body.data)).toEqual({
        status: 'ok',
        mode: 'sync',
        storage: { up: true },
        services: {
          redis: { up: false, latency_ms: null, reason: expect.any(String) },
          face_detection: { up: true, workers: 0, slots: 1, busy: 0, waiting: 0, oldest_waiting_s: 0, model: 'yunet' },
          object_detection: {
            up: true,
            workers: 0,
            slots: 1,
            busy: 0,
            waiting: 0,
            oldest_waiting_s: 0,
            model: 'yolox_nano',
          },
        },
      });
    });

    it('models and metrics', async () => {
      expect((await call(`${web.url}/api/models`)).body.data.models).toHaveLength(2);
      const families = parseExposition(await (await fetch(`${web.url}/metrics`)).text());
      expect(
        sampleValue(families, 'recognize_http_request_seconds_count', {
          method: 'POST',
          route: '/api/detect/face/image',
          code: '200',
        }),
      ).toBeGreaterThan(0);
    });

    it('ready only once its models are warm', async () => {
      const late = await startAnotherWeb(folders, SYNC);
      try {
        const first = await call(`${late.url}/api/health/ready`);
        expectError(first, 503, 'MODEL_UNAVAILABLE');
        expect((await call(`${late.url}/api/health/live`)).status).toBe(200);
        expectError(await post(late.url, 'face/image', { file }), 503, 'MODEL_UNAVAILABLE');
        expect((await call(`${late.url}/api/health`)).body.data).toMatchObject({
          status: 'degraded',
          services: { face_detection: { up: false, reason: 'the detectors are still loading' } },
        });
        await warm(late.url);
      } finally {
        await late.stop();
      }
    });

    it('which model is missing, until it is there', async () => {
      const place = await makeFolders();
      await pullModels(place.models, ['yunet']);
      const half = await startAnotherWeb(place, SYNC);
      try {
        await warm(half.url);
        const refused = await post(half.url, 'object/image', { file });
        expectError(refused, 503, 'MODEL_UNAVAILABLE');
        expect(refused.body.message).toContain('npm run models -- pull');
        const health = await call(`${half.url}/api/health`);
        expect(health.body.data).toMatchObject({
          status: 'degraded',
          services: { object_detection: { up: false, reason: expect.stringContaining('npm run models -- pull') } },
        });
        expect((await post(half.url, 'face/image', { file })).status).toBe(200);
        const aside = join(place.root, 'aside');
        await mkdir(aside);
        await pullModels(aside, ['yolox_nano']);
        await rename(join(aside, 'yolox_nano.onnx'), join(place.models, 'yolox_nano.onnx'));
        await waitFor(
          'the model to be seen',
          async () => (await post(half.url, 'object/image', { file })).status === 200,
        );
      } finally {
        await half.stop();
      }
    });
  });

  it('knows API keys and limits as ever', async () => {
    const guarded = await startAnotherWeb(folders, { ...SYNC, API_KEYS: 'a:key', API_RATE_LIMIT: '1 per hour' });
    try {
      await warm(guarded.url);
      const headers = { 'X-API-Key': 'key' };
      expectError(await post(guarded.url, 'face/image', { file }), 401, 'UNAUTHORIZED');
      expect((await post(guarded.url, 'face/image', { file, headers })).status).toBe(200);
      expectError(await post(guarded.url, 'face/image', { file, headers }), 429, 'RATE_LIMITED');
    } finally {
      await guarded.stop();
    }
  });

  it('says that it is stopped to whoever still waits, and leaves nothing of theirs behind', async () => {
    const place = await makeFolders();
    await pullModels(place.models, ['yunet', 'yolox_nano']);
    const stopped = await startAnotherWeb(place, { ...SYNC, GRACE_PERIOD: '1' });
    await stopped.whenReady;
    const [answer] = await Promise.all([
      post(stopped.url, 'object/video', { file: sharedFile('videos/people-one-by-one.mp4'), query: 'frame_skip=1' }),
      waitFor('the video to run', () => temporaryIn(place).length > 1).then(() => stopped.stop()),
    ]);
    expectError(answer, 503, 'QUEUE_UNAVAILABLE');
    expect(answer.body.message).toContain('being stopped');
    expect(temporaryIn(place)).toEqual([]);
    expect(storedIn(place)).toEqual([]);
  });

  it('stops at once, also while it starts', async () => {
    const before = new Set(lanePids());
    const early = await startAnotherWeb(folders, SYNC);
    const start = performance.now();
    await early.stop();
    expect(performance.now() - start).toBeLessThan(3000);
    // Longer than detection processes take to start: none comes after all.
    await sleep(2500);
    expect(lanePids().filter((pid) => !before.has(pid))).toEqual([]);
  });
});
