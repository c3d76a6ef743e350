import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult } from '../../src/contract/results.ts';
import { knownWorkers } from '../../src/queue/heartbeat.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { DAMAGED_SENTENCE, MISSING_KEY_SENTENCE } from '../../src/sealing/keyring.ts';
import { call, ended, expectError, getTask, post, submit, type TaskOf, taskIn } from '../support/api.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  makeFolders,
  pullModels,
  startAnotherWeb,
  startWeb,
  startWorker,
  storedIn,
  type TestWeb,
  temporaryIn,
} from '../support/web.ts';

const SEGMENT = 65_536;
const newKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`;

describe.skipIf(!requireShared())('a service with RESULT_ENCRYPTION_KEY', () => {
  const current = newKey('k1');
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  let done: TaskOf;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ env: { RESULT_ENCRYPTION_KEY: current }, workers: ['face'] });
    done = await ended(web.url, await submit(web.url, 'face/image', { file, fields: { confidence: '0.61' } }));
  });
  afterAll(() => web?.stop());

  const withKeys = (keys: string) => startAnotherWeb(web.folders, { ...web.env, RESULT_ENCRYPTION_KEY: keys });

  async function load(path: string, headers: Record<string, string> = {}, url = web.url): Promise<Buffer> {
    const response = await fetch(`${url}${path}`, { headers });
    expect(response.ok).toBe(true);
    return Buffer.from(await response.arrayBuffer());
  }

  it('answers as one without', async () => {
    expect(done).toMatchObject({ state: 'SUCCESS', options: { confidence: 0.61 }, result: { faces_detected: 1 } });
    expect(await load(done.result?.original_image ?? '')).toEqual(Buffer.from(file));
    const copy = await load(done.result?.annotated_image ?? '');
    expect([...copy.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    for (const name of readdirSync(web.folders.uploads)) expect(name).toMatch(/^\.tmp$|\.sealed$/);
    expect(temporaryIn(web.folders)).toEqual([]);
  });

  it('serves parts of a video to the byte at the borders of segments', async () => {
    const video = Buffer.from(sharedFile('videos/signer.mkv'));
    expect(video.length).toBeGreaterThan(2 * SEGMENT);
    const { result } = await ended<FaceVideoResult>(
      web.url,
      await submit(web.url, 'face/video', { file: new Uint8Array(video) }),
    );
    const path = result?.original_video ?? '';
    expect((await load(path)).equals(video)).toBe(true);
    for (const [from, to] of [
      [0, 1],
      [SEGMENT - 1, SEGMENT],
      [SEGMENT - 1, SEGMENT + 1],
      [SEGMENT, 2 * SEGMENT],
      [SEGMENT, 2 * SEGMENT + 1],
      [video.length - 1, video.length],
    ] as const) {
      const part = await load(path, { Range: `bytes=${from}-${to - 1}` });
      expect(part.equals(video.subarray(from, to)), `${from} to ${to}`).toBe(true);
    }
    const { frames } = JSON.parse((await load(result?.detections_url ?? '')).toString());
    expect(frames.length).toBe(result?.frames_with_faces.length);
    expect((await load(result?.annotated_video ?? '')).subarray(4, 8).toString()).toBe('ftyp');
  });

  it('tells of failures, cancelled tasks and lists as one without', async () => {
    const broken = await ended(
      web.url,
      await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') }),
    );
    expect(broken).toMatchObject({ state: 'FAILURE', error: { error_code: 'UNREADABLE_MEDIA' } });
    expect(broken.error?.message).toMatch(/^The .*\.$/);
    const waiting = await submit(web.url, 'object/image', { file, fields: { classes: 'person' } });
    expect(await getTask(web.url, waiting)).toMatchObject({ state: 'PENDING', options: { classes: ['person'] } });
    await call(`${web.url}/api/task/${waiting}`, { method: 'DELETE' });
    expect(await getTask(web.url, waiting)).toMatchObject({ state: 'REVOKED', options: { classes: ['person'] } });
    const { body } = await call(`${web.url}/api/tasks?limit=50`);
    const states = (body.data.tasks as TaskOf[]).map(({ state }) => state);
    expect(states).toEqual(expect.arrayContaining(['SUCCESS', 'FAILURE', 'REVOKED']));
  });

  it('goes on under a new key, with the old one behind it', async () => {
    const fresh = newKey('k2');
    const rotated = await withKeys(`${fresh},${current}`);
    try {
      expect((await getTask(rotated.url, done.task_id)).result).toEqual(done.result);
      expect(await load(done.result?.original_image ?? '', {}, rotated.url)).toEqual(Buffer.from(file));
      await submit(rotated.url, 'object/image', { file });
      expect(readdirSync(web.folders.uploads).length).toBeGreaterThan(1);
      const redis = web.redis.client();
      expect(Object.keys(await redis.hgetall(KEYS.encryptionKeys())).sort()).toEqual(['k1', 'k2']);
      await redis.hdel(KEYS.encryptionKeys(), 'k2');
    } finally {
      await rotated.stop();
    }
  });

  it.each([
    ['another key', newKey('k3'), MISSING_KEY_SENTENCE],
    ['another key of the same id', newKey('k1'), DAMAGED_SENTENCE],
    ['no key', '', MISSING_KEY_SENTENCE],
  ])('a web process with %s says that it cannot read, in every place', async (_what, keys, sentence) => {
    const other = await withKeys(keys);
    try {
      const undrawn = await ended(web.url, await submit(web.url, 'face/image', { file }));
      const { original_image: original, annotated_image: annotated } = done.result ?? {};
      const paths = [original, annotated, undrawn.result?.annotated_image];
      for (const path of [`/api/task/${done.task_id}`, `/api/task/${done.task_id}/events`, ...paths]) {
        const answer = await call(`${other.url}${path}`);
        expectError(answer, 500, 'INTERNAL');
        expect(answer.body.message).toBe(sentence);
        expect(answer.headers.get('etag')).toBeNull();
      }
      // It did end well; what it found is all that nobody can tell here.
      const listed = async (state: string) => {
        const { body } = await call(`${other.url}/api/tasks?limit=50&state=${state}`);
        return (body.data.tasks as TaskOf[]).find(({ task_id }) => task_id === done.task_id);
      };
      expect(await listed('FAILURE')).toBeUndefined();
      const task = await listed('SUCCESS');
      expect(task).toMatchObject({ options: null, unreadable: { error_code: 'INTERNAL', message: sentence } });
      expect(task).not.toHaveProperty('result');
      expect(task).not.toHaveProperty('error');
    } finally {
      await other.stop();
    }
  });

  it('a worker with another key ends its tasks with a sentence', async () => {
    const worker = await startWorker('object', web.folders, { ...web.env, RESULT_ENCRYPTION_KEY: newKey('k4') });
    try {
      const task = await ended(web.url, await submit(web.url, 'object/image', { file }));
      expect(task).toMatchObject({ state: 'FAILURE', attempts: 1, error: { error_code: 'INTERNAL' } });
      expect(task.error?.message).toBe(MISSING_KEY_SENTENCE);
    } finally {
      await worker.stop();
    }
  });

  it('a changed file is an error, never garbage', async () => {
    const { body } = await post(web.url, 'face/image', { file, query: 'wait=20' });
    const { original_image: original, annotated_image: annotated } = body.data.result as Record<string, string>;
    const path = join(web.folders.uploads, `${original?.split('/').at(-1)}.sealed`);
    const stored = readFileSync(path);
    stored[500] = (stored[500] ?? 0) ^ 1;
    writeFileSync(path, stored);
    for (const url of [original, annotated]) {
      const answer = await call(`${web.url}${url}`);
      expectError(answer, 500, 'INTERNAL');
      expect(answer.body.message).toBe(DAMAGED_SENTENCE);
    }
    expect(temporaryIn(web.folders)).toEqual([]);
  });

  it('a changed result is an error, too', async () => {
    const redis = web.redis.client();
    const id = await submit(web.url, 'face/image', { file });
    await ended(web.url, id);
    const other = await redis.hget(KEYS.job('face_detection', done.task_id), 'returnvalue');
    await redis.hset(KEYS.job('face_detection', id), 'returnvalue', other ?? '');
    const answer = await call(`${web.url}/api/task/${id}`);
    expectError(answer, 500, 'INTERNAL');
    expect(answer.body.message).toBe(DAMAGED_SENTENCE);
  });

  it('a task that waits can be seen and cancelled without its key, and shows no invented options', async () => {
    const blind = await withKeys(newKey('k5'));
    try {
      const waiting = await submit(web.url, 'object/image', { file });
      const seen = await getTask(blind.url, waiting);
      expect(seen).toMatchObject({ state: 'PENDING', options: null, unreadable: { message: MISSING_KEY_SENTENCE } });
      expect((await call(`${blind.url}/api/task/${waiting}`, { method: 'DELETE' })).status).toBe(200);
      for (const url of [blind.url, web.url])
        expect(await getTask(url, waiting)).toMatchObject({ state: 'REVOKED', options: null });
    } finally {
      await blind.stop();
    }
  });

  it('works without a queue, too', async () => {
    const folders = await makeFolders();
    await pullModels(folders.models, ['yunet']);
    const sync = await startAnotherWeb(folders, { MODE: 'sync', RESULT_ENCRYPTION_KEY: current });
    try {
      await waitFor('the detectors', async () => (await call(`${sync.url}/api/health/ready`)).status === 200);
      const { body } = await post(sync.url, 'face/image', { file });
      expect(body.data.faces_detected).toBe(1);
      const copy = await load(String(body.data.annotated_image), {}, sync.url);
      expect([...copy.subarray(0, 2)]).toEqual([0xff, 0xd8]);
      const stored = storedIn(folders);
      expect(stored.length).toBe(3);
      for (const name of stored) expect(name).toMatch(/\.sealed$/);
    } finally {
      await sync.stop();
    }
  });

  it('what runs tells how far it is', async () => {
    const id = await submit(web.url, 'face/video', { file: sharedFile('videos/people-one-by-one.mp4') });
    await taskIn(web.url, id, ['PROCESSING']);
    for (let looks = 0; looks < 100 && (await getTask(web.url, id)).progress === undefined; looks++) await sleep(100);
    const task = await getTask(web.url, id);
    expect(task.progress).toMatchObject({ unit: 'frames', total: 1394 });
    const redis = web.redis.client();
    expect(await redis.hget(KEYS.job('face_detection', id), 'progress')).toMatch(/^\{"sealed":"sealed:1:k1:/);
    // The worker says that it runs, but not how far it is.
    const heartbeatAt = Date.now();
    const beats = async () => (await knownWorkers(redis)).filter(({ beat_at }) => beat_at > heartbeatAt);
    await waitFor('a heartbeat', async () => (await beats()).some(({ current }) => current[0]?.task_id === id));
    const keys = await redis.keys(KEYS.worker('*'));
    expect(keys.length).toBeGreaterThan(0);
    for (const text of await redis.mget(keys)) expect(text).not.toContain('"percent"');
    await call(`${web.url}/api/task/${id}`, { method: 'DELETE' });
  });
});
