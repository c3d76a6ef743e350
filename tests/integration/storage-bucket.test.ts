import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult, ImageResult } from '../../src/contract/results.ts';
import { call, ended, expectError, post, submit, taskIn } from '../support/api.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { startBucket, type TestBucket } from '../support/s3.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  makeFolders,
  pullModels,
  startAnotherWeb,
  startWeb,
  startWorker,
  type TestWeb,
  temporaryIn,
} from '../support/web.ts';

const nameOf = (path: string) => path.split('/').at(-1) ?? '';

describe.skipIf(!requireShared())('a service whose files lie in a bucket', () => {
  let bucket: TestBucket;
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    bucket = await startBucket();
    web = await startWeb({ env: bucket.env, workers: ['face'] });
  });
  afterAll(async () => {
    await web?.stop();
    await bucket?.stop();
  });

  async function load(path: string, headers: Record<string, string> = {}, method = 'GET') {
    const response = await fetch(`${web.url}${path}`, { headers, method });
    return { response, bytes: new Uint8Array(await response.arrayBuffer()) };
  }

  const temporary = () => temporaryIn(web.folders);

  it('detects in a picture and serves it, whole, in part and with boxes', async () => {
    const { result } = await ended(web.url, await submit(web.url, 'face/image', { file }));
    const { original_image: original = '', annotated_image: annotated } = result ?? ({} as ImageResult);
    expect(result).toMatchObject({ faces_detected: 1 });
    expect(bucket.names()).toContain(nameOf(original));
    expect(readdirSync(web.folders.uploads)).toEqual(['.tmp']);
    const whole = await load(original);
    expect(whole.bytes).toEqual(file);
    expect(Object.fromEntries(whole.response.headers)).toMatchObject({
      'content-type': 'image/jpeg',
      'content-length': String(file.length),
      'accept-ranges': 'bytes',
      'content-security-policy': 'sandbox',
      etag: expect.stringMatching(/^"/),
    });
    const part = await load(original, { Range: 'bytes=1000-1999' });
    expect([part.response.status, part.response.headers.get('content-range')]).toEqual([
      206,
      `bytes 1000-1999/${file.length}`,
    ]);
    expect(part.bytes).toEqual(file.slice(1000, 2000));
    expect((await load(original, { Range: 'bytes=-10' })).bytes).toEqual(file.slice(-10));
    expect((await load(original, { Range: `bytes=${file.length}-` })).response.status).toBe(416);
    const head = await load(original, {}, 'HEAD');
    expect([head.response.headers.get('content-length'), head.bytes.length]).toEqual([String(file.length), 0]);
    const etag = whole.response.headers.get('etag') ?? '';
    expect((await load(original, { Range: 'bytes=0-1', 'If-Range': '"another"' })).response.status).toBe(200);
    expect((await load(original, { Range: 'bytes=0-1', 'If-Range': etag })).response.status).toBe(206);

    const drawn = await Promise.all([load(annotated ?? ''), load(annotated ?? '')]);
    for (const { response, bytes } of drawn) {
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
      expect([...bytes.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    }
    expect(bucket.names()).toContain(nameOf(annotated ?? ''));
    expect(temporary()).toEqual([]);
  });

  it('detects in a video; what was made of it lies in the bucket', async () => {
    const id = await submit(web.url, 'face/video', { file: sharedFile('videos/signer.mkv') });
    const { result } = await ended<FaceVideoResult>(web.url, id);
    expect(result?.total_faces_detected).toBeGreaterThan(0);
    const made = [result?.original_video, result?.annotated_video, result?.detections_url].map((path) =>
      nameOf(path ?? ''),
    );
    expect(bucket.names()).toEqual(expect.arrayContaining(made));
    const { frames } = JSON.parse(Buffer.from((await load(result?.detections_url ?? '')).bytes).toString());
    expect(frames.length).toBe(result?.frames_with_faces.length);
    expect((await load(result?.annotated_video ?? '', { Range: 'bytes=4-7' })).bytes).toEqual(
      new Uint8Array(Buffer.from('ftyp')),
    );
    expect(temporary()).toEqual([]);
  });

  it('keeps nothing of a task that was cancelled, waiting or running', async () => {
    const before = bucket.names();
    const waiting = await submit(web.url, 'object/image', { file });
    expect(bucket.names().length).toBe(before.length + 1);
    expect((await call(`${web.url}/api/task/${waiting}`, { method: 'DELETE' })).status).toBe(200);
    const running = await submit(web.url, 'face/video', { file: sharedFile('videos/people-one-by-one.mp4') });
    await taskIn(web.url, running, ['PROCESSING']);
    expect((await call(`${web.url}/api/task/${running}`, { method: 'DELETE' })).status).toBe(200);
    expect(bucket.names()).toEqual(before);
    await waitFor('the copies to be gone', () => temporary().length === 0);
  });

  describe('while the bucket is away', () => {
    it('takes no upload, says why, and goes on as soon as it is back', async () => {
      const { result } = await ended(web.url, await submit(web.url, 'face/image', { file }));
      const before = bucket.names();
      await bucket.kill9();
      try {
        const refused = await post(web.url, 'face/image', { file });
        expectError(refused, 503, 'QUEUE_UNAVAILABLE');
        expect(refused.body.message).toMatch(/storage/);
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
        const download = await call(`${web.url}${result?.original_image}`);
        expectError(download, 503, 'QUEUE_UNAVAILABLE');
        expect(download.headers.get('etag')).toBeNull();
        await waitFor('web not to be ready', async () => (await call(`${web.url}/api/health/ready`)).status === 503, {
          timeoutMs: 25_000,
        });
        expect(temporary()).toEqual([]);
      } finally {
        await bucket.restart();
      }
      expect(bucket.names()).toEqual(before);
      await waitFor('web to be ready', async () => (await call(`${web.url}/api/health/ready`)).status === 200);
      expect((await post(web.url, 'face/image', { file, query: 'wait=20' })).body.data.state).toBe('SUCCESS');
    });

    it('an upload during which it dies is refused and leaves nothing', async () => {
      const before = bucket.names();
      bucket.freeze();
      const answer = post(web.url, 'face/video', { file: sharedFile('videos/signer.mkv') });
      await waitFor('the upload to be received', () => temporary().length > 0);
      await sleep(300);
      await bucket.kill9();
      try {
        expectError(await answer, 503, 'QUEUE_UNAVAILABLE');
        expect(temporary()).toEqual([]);
      } finally {
        await bucket.restart();
      }
      expect(bucket.names()).toEqual(before);
    });

    it('health and readiness say so soon where it hangs, and say so again when it is back', async () => {
      const health = async () => (await call(`${web.url}/api/health`)).body.data;
      await waitFor('storage to be well', async () => (await health()).storage, { timeoutMs: 10_000 });
      expect(await health()).toMatchObject({ storage: { up: true } });
      bucket.freeze();
      try {
        const silent = await waitFor(
          'the silence to be noticed',
          async () => {
            const answer = await call(`${web.url}/api/health`);
            // Long before a request to the store is given up.
            expect(answer.ms).toBeLessThan(6000);
            return (answer.body.data.storage as { up: boolean }).up ? undefined : answer;
          },
          { timeoutMs: 30_000 },
        );
        expect(silent.status).toBe(200);
        expect(silent.body.data).toMatchObject({
          status: 'degraded',
          storage: { reason: 'the storage for files does not answer' },
          services: { redis: { up: true } },
        });
        const ready = await call(`${web.url}/api/health/ready`);
        expectError(ready, 503, 'QUEUE_UNAVAILABLE');
        expect(ready.ms).toBeLessThan(6000);
      } finally {
        bucket.thaw();
      }
      await waitFor(
        'storage to be well again',
        async () => (await call(`${web.url}/api/health/ready`)).status === 200,
        {
          timeoutMs: 30_000,
        },
      );
    });

    it('a client that hangs up meanwhile leaves nothing either', async () => {
      const before = bucket.names();
      const hangUp = new AbortController();
      bucket.freeze();
      try {
        const answer = post(web.url, 'face/image', { file, signal: hangUp.signal });
        await waitFor('the upload to be received', () => temporary().length > 0);
        await sleep(300);
        hangUp.abort();
        await expect(answer).rejects.toThrow();
        await waitFor('the temporary file to go', () => temporary().length === 0, { timeoutMs: 3000 });
      } finally {
        bucket.thaw();
      }
      await waitFor('what was sent to be removed', () => bucket.names().length === before.length);
    });

    it('a task can be cancelled', async () => {
      const id = await submit(web.url, 'object/image', { file });
      await bucket.kill9();
      try {
        const answer = await call(`${web.url}/api/task/${id}`, { method: 'DELETE' });
        expect([answer.status, answer.body.data.state]).toEqual([200, 'REVOKED']);
      } finally {
        await bucket.restart();
      }
    });

    it('a task is tried again and then succeeds', async () => {
      const id = await submit(web.url, 'object/image', { file });
      await bucket.kill9();
      const worker = await startWorker('object', web.folders, web.env);
      try {
        await taskIn(web.url, id, ['RETRY']);
        await bucket.restart();
        const task = await ended(web.url, id);
        expect(task.error).toBeUndefined();
        expect([task.state, task.attempts > 1]).toEqual(['SUCCESS', true]);
      } finally {
        await worker.stop();
      }
    });
  });

  it('forgets files when their time is over', async () => {
    const env = { ...bucket.env, RESULT_TTL: '1', UPLOAD_TTL: '2', STORAGE_URL: 's3://recognize-test/short/lived' };
    const other = await startWeb({ env, models: ['yunet'], workers: ['face'] });
    try {
      await ended(other.url, await submit(other.url, 'face/image', { file, query: 'annotate=true' }));
      expect(bucket.names('short/lived/').length).toBe(2);
      await waitFor('its files to go', () => bucket.names('short/lived/').length === 0, { timeoutMs: 20_000 });
      expect(bucket.names().length).toBeGreaterThan(0);
    } finally {
      await other.stop();
    }
  });

  it('works without a queue, too', async () => {
    const folders = await makeFolders();
    await pullModels(folders.models, ['yunet']);
    const sync = await startAnotherWeb(folders, { ...bucket.env, MODE: 'sync' });
    try {
      await waitFor('the detectors', async () => (await call(`${sync.url}/api/health/ready`)).status === 200);
      const { status, body } = await post(sync.url, 'face/image', { file });
      expect([status, body.data.faces_detected]).toEqual([200, 1]);
      const copy = await fetch(`${sync.url}${body.data.annotated_image}`);
      expect([copy.status, copy.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
      await copy.arrayBuffer();
      expect(bucket.names()).toContain(nameOf(String(body.data.original_image)));
      expect(temporaryIn(folders)).toEqual([]);
    } finally {
      await sync.stop();
    }
  });
});
