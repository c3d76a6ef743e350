import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, call, ended, expectError, getTask, post, submit, taskIn } from '../support/api.ts';
import { openEvents } from '../support/events.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture } from '../support/pictures.ts';
import { parseExposition, sampleValue } from '../support/prometheus.ts';
import { BODY_END, openRaw, partHead, requestHead } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startAnotherWeb, startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

/** A poll, a health check or an upload is answered within two seconds, in ms, and a little for a busy machine. */
const PATIENCE_MS = 2500;

describe.skipIf(!requireShared())('Redis away', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  let before: string[];
  let done: string;
  let waiting: string;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: ['face'] });
    done = await submit(web.url, 'face/image', { file });
    await ended(web.url, done);
    waiting = await submit(web.url, 'object/image', { file });
  });
  afterAll(() => web?.stop());

  const stored = () => storedIn(web.folders);
  const listed = async () =>
    ((await call(`${web.url}/api/tasks?limit=200`)).body.data.tasks as { task_id: string }[]).map(
      ({ task_id }) => task_id,
    );

  function expectUnavailable(answer: Answer): void {
    expectError(answer, 503, 'QUEUE_UNAVAILABLE');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(answer.ms).toBeLessThan(PATIENCE_MS);
  }

  /** What must hold for as long as Redis does not answer. */
  async function expectDown(): Promise<void> {
    const result = (path: string, init: RequestInit = {}) => call(`${web.url}${path}`, init);
    const [face, object, task, stranger, cancel, list, events, ready, scaling] = await Promise.all([
      post(web.url, 'face/image', { file }),
      post(web.url, 'object/image', { file, query: 'wait=10' }),
      result(`/api/task/${done}`),
      result('/api/task/00000000-0000-4000-8000-000000000000'),
      result(`/api/task/${waiting}`, { method: 'DELETE' }),
      result('/api/tasks'),
      result(`/api/task/${done}/events`),
      result('/api/health/ready'),
      result('/metrics/scaling'),
    ]);
    for (const answer of [face, object, task, stranger, cancel, list, events, scaling]) expectUnavailable(answer);
    expect([ready.status, ready.body.success]).toEqual([503, false]);
    const health = await result('/api/health');
    expect(health.status).toBe(503);
    expect(health.ms).toBeLessThan(PATIENCE_MS);
    expect(health.body.data).toMatchObject({
      status: 'down',
      services: { redis: { up: false, latency_ms: null }, face_detection: { up: false } },
    });
    expect((await result('/api/health/live')).status).toBe(200);
    expect((await result('/api/models')).status).toBe(200);
    const metrics = await fetch(`${web.url}/metrics`);
    expect(sampleValue(parseExposition(await metrics.text()), 'recognize_redis_up')).toBe(0);
    expect(stored()).toEqual(before);
    expect(temporaryIn(web.folders)).toEqual([]);
  }

  async function expectUp(tasks: string[]): Promise<void> {
    await waitFor('Redis to be seen again', async () => (await call(`${web.url}/api/health/ready`)).status === 200, {
      timeoutMs: 5000,
    });
    // Whoever was told 503 has no task, not now and not in a moment.
    await sleep(500);
    expect(await listed()).toEqual(tasks);
    expect((await getTask(web.url, done)).state).toBe('SUCCESS');
    expect((await getTask(web.url, waiting)).state).toBe('PENDING');
    const id = await submit(web.url, 'face/image', { file });
    expect((await ended(web.url, id)).state).toBe('SUCCESS');
  }

  beforeEach(() => {
    before = stored();
  });

  describe('hung', () => {
    const hang = () => process.kill(web.redis.pid(), 'SIGSTOP');
    const goOn = () => process.kill(web.redis.pid(), 'SIGCONT');
    afterEach(goOn);

    it('is answered 503 in time, without leftovers, and is over by itself', async () => {
      const tasks = await listed();
      hang();
      await expectDown();
      goOn();
      await expectUp(tasks);
    });

    it('in the middle of an upload, too', async () => {
      const tasks = await listed();
      const raw = openRaw(web.url);
      const part = Buffer.from(partHead('name="file"; filename="x.jpg"'));
      const length = part.length + file.length + BODY_END.length;
      await raw.write(requestHead('face/image', { 'Content-Length': length }));
      await raw.write(Buffer.concat([part, file]));
      await waitFor('the upload to be under way', () => temporaryIn(web.folders).length === 1);
      hang();
      const start = performance.now();
      await raw.write(BODY_END);
      const { status, body } = await raw.answer();
      raw.destroy();
      expect([status, JSON.parse(body).error_code]).toEqual([503, 'QUEUE_UNAVAILABLE']);
      expect(performance.now() - start).toBeLessThan(PATIENCE_MS);
      expect(stored()).toEqual(before);
      goOn();
      await expectUp(tasks);
    });

    it('for a moment only is not noticed', async () => {
      hang();
      setTimeout(goOn, 500);
      const answer = await post(web.url, 'face/image', { file });
      expect(answer.status).toBe(202);
      expect((await ended(web.url, String(answer.body.data.task_id))).state).toBe('SUCCESS');
    });

    it('does not use up an Idempotency-Key', async () => {
      const upload = { file, headers: { 'Idempotency-Key': 'through-the-storm' } };
      const tasks = await listed();
      hang();
      expectUnavailable(await post(web.url, 'face/image', upload));
      goOn();
      await expectUp(tasks);
      const id = await submit(web.url, 'face/image', upload);
      expect((await ended(web.url, id)).state).toBe('SUCCESS');
      expect(await submit(web.url, 'face/image', upload)).toBe(id);
    });

    it('does not take back what was accepted', async () => {
      const lanes = lanePids();
      signalAll(lanes, 'SIGSTOP');
      try {
        const known = new Set(await listed());
        const answer = post(web.url, 'face/image', { file, query: 'wait=20' });
        const id = await waitFor('the task', async () => (await listed()).find((task) => !known.has(task)));
        await taskIn(web.url, id, ['PROCESSING']);
        const stream = await openEvents(`${web.url}/api/task/${id}/events`);
        hang();
        // The wait gives up, the task does not.
        const { status, body } = await answer;
        expect([status, body.data.task_id]).toEqual([202, id]);
        expect(stream.events.map(({ event }) => event)).not.toContain('done');
        goOn();
        signalAll(lanes, 'SIGCONT');
        // Who listens has heard nothing of it.
        await stream.closed;
        expect(stream.events.at(-1)).toMatchObject({ event: 'done', data: { task_id: id, state: 'SUCCESS' } });
        await waitFor('Redis', async () => (await call(`${web.url}/api/health/ready`)).status === 200);
        expect((await ended(web.url, id)).state).toBe('SUCCESS');
      } finally {
        signalAll(lanes, 'SIGCONT');
      }
    });
  });

  describe('killed', () => {
    it('is answered 503 in time, without leftovers, and is over by itself when Redis is back with its data', async () => {
      const tasks = await listed();
      // Everything must be in the append-only file, which is written every second.
      await sleep(1100);
      await web.redis.kill9();
      try {
        await expectDown();
      } finally {
        await web.redis.restart();
      }
      await expectUp(tasks);
    });

    it('leaves originals to be had, and annotated copies for later', async () => {
      const { result } = await getTask(web.url, done);
      await sleep(1100);
      await web.redis.kill9();
      try {
        const original = await fetch(`${web.url}${result?.original_image}`);
        expect(original.status).toBe(200);
        await original.arrayBuffer();
        expectUnavailable(await call(`${web.url}${result?.annotated_image}`));
      } finally {
        await web.redis.restart();
      }
      await waitFor('the copy', async () => {
        const copy = await fetch(`${web.url}${result?.annotated_image}`);
        await copy.arrayBuffer();
        return copy.status === 200;
      });
    });

    it('does not keep web from starting, nor from stopping', async () => {
      await sleep(1100);
      await web.redis.kill9();
      const other = await startAnotherWeb(web.folders, web.env);
      try {
        expectUnavailable(await post(other.url, 'face/image', { file }));
        expect((await call(`${other.url}/api/health`)).status).toBe(503);
        await web.redis.restart();
        await waitFor('Redis', async () => (await call(`${other.url}/api/health/ready`)).status === 200);
        expect((await post(other.url, 'face/image', { file, query: 'wait=20' })).status).toBe(200);
        await web.redis.kill9();
      } finally {
        const start = performance.now();
        await other.stop();
        expect(performance.now() - start).toBeLessThan(3000);
        await web.redis.restart();
      }
    });
  });

  it('is answered so where a rate limit is to be counted, too', async () => {
    const other = await startAnotherWeb(web.folders, { ...web.env, API_RATE_LIMIT: '2 per hour' });
    try {
      process.kill(web.redis.pid(), 'SIGSTOP');
      expectUnavailable(await post(other.url, 'face/image', { file }));
      process.kill(web.redis.pid(), 'SIGCONT');
      await waitFor('Redis', async () => (await call(`${other.url}/api/health/ready`)).status === 200);
      expect((await post(other.url, 'face/image', { file })).status).toBe(202);
    } finally {
      process.kill(web.redis.pid(), 'SIGCONT');
      await other.stop();
    }
  });
});
