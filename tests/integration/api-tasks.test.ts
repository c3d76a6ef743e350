import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KEYS, PREFIX } from '../../src/queue/keys.ts';
import type { Running } from '../../src/worker/run-worker.ts';
import { call, ended, expectError, getTask, post, submit, taskIn } from '../support/api.ts';
import { type EventStream, openEvents } from '../support/events.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { isGone } from '../support/processes.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startAnotherWeb, startWeb, startWorker, storedIn, type TestWeb } from '../support/web.ts';

const NEVER_ISSUED = '00000000-0000-4000-8000-000000000000';

describe.skipIf(!requireShared())('tasks', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: [] });
  });
  afterAll(() => web?.stop());

  const stored = () => storedIn(web.folders);
  const cancel = (id: string, url = web.url) => call(`${url}/api/task/${id}`, { method: 'DELETE' });
  const list = async (query = '') => {
    const answer = await call(`${web.url}/api/tasks${query}`);
    expect(answer.status, answer.text).toBe(200);
    return answer.body.data as {
      tasks: { task_id: string; state: string; queue: string; created_at: string }[];
      next_cursor: string | null;
    };
  };

  async function emptied(): Promise<void> {
    await web.redis.client().flushall();
  }

  describe('that nobody has issued', () => {
    it.each([NEVER_ISSUED, '1', 'x', '..%2f..', 'a%00b', 'completed', 'id', 'meta', `revoked:${NEVER_ISSUED}`])(
      '%s are not found',
      async (id) => {
        expectError(await call(`${web.url}/api/task/${id}`), 404, 'TASK_NOT_FOUND');
        expectError(await cancel(id), 404, 'TASK_NOT_FOUND');
        expectError(await call(`${web.url}/api/task/${id}/events`), 404, 'TASK_NOT_FOUND');
      },
    );
  });

  describe('while no worker runs', () => {
    afterEach(emptied);

    it('are PENDING in their order: by priority, then by arrival', async () => {
      const first = await submit(web.url, 'face/image', { file });
      const second = await submit(web.url, 'face/image', { file });
      const urgent = await submit(web.url, 'face/image', { file, query: 'priority=9' });
      const idle = await submit(web.url, 'face/image', { file, query: 'priority=0' });
      const other = await submit(web.url, 'object/image', { file });
      const positions = await Promise.all(
        [first, second, urgent, idle, other].map(async (id) => (await getTask(web.url, id)).position),
      );
      expect(positions).toEqual([2, 3, 1, 4, 1]);
      expect(await getTask(web.url, idle)).toEqual({
        task_id: idle,
        state: 'PENDING',
        status: 'Waiting in the queue',
        position: 4,
        queue: 'face_detection',
        attempts: 0,
        created_at: expect.any(String),
        options: expect.objectContaining({ priority: 0 }),
      });
    });

    it('stand in Redis as the contract says', async () => {
      const [high, middle, low] = [
        await submit(web.url, 'face/image', { file, query: 'priority=9' }),
        await submit(web.url, 'face/image', { file }),
        await submit(web.url, 'face/image', { file, query: 'priority=0' }),
      ];
      const queue = new Queue('face_detection', { connection: web.redis.options, prefix: '{recognize}' });
      queue.on('error', () => undefined);
      try {
        const jobs = await Promise.all([high, middle, low].map((id) => queue.getJob(id)));
        expect(jobs.map((job) => job?.priority)).toEqual([1, 9, 19]);
        expect(jobs.map((job) => job?.name)).toEqual(['image', 'image', 'image']);
        expect(jobs[0]?.data).toMatchObject({ v: expect.any(Number) });
        expect(JSON.stringify(jobs[0]?.data)).not.toContain(web.folders.root);
      } finally {
        await queue.close();
      }
    });

    it('answer 202 when a wait has been in vain', async () => {
      const start = performance.now();
      const answer = await post(web.url, 'face/image', { file, query: 'wait=0.4' });
      expect(answer.status).toBe(202);
      expect(performance.now() - start).toBeGreaterThan(390);
      expect(performance.now() - start).toBeLessThan(5000);
    });

    it('are cancelled at once, files and all, however often', async () => {
      const before = stored();
      const id = await submit(web.url, 'face/image', { file });
      expect(stored().length).toBe(before.length + 1);
      const answer = await cancel(id);
      expect(answer.status).toBe(200);
      expect(answer.body.data).toMatchObject({ task_id: id, state: 'REVOKED' });
      expect(answer.ms).toBeLessThan(1500);
      expect(stored()).toEqual(before);
      expect(await getTask(web.url, id)).toEqual({
        task_id: id,
        state: 'REVOKED',
        status: expect.any(String),
        queue: 'face_detection',
        attempts: 0,
        created_at: expect.any(String),
        finished_at: expect.any(String),
        options: expect.any(Object),
      });
      const again = await cancel(id);
      expect([again.status, again.body.data.state]).toEqual([200, 'REVOKED']);
      expect(await web.redis.client().exists(KEYS.job('face_detection', id))).toBe(0);
    });

    it('that are cancelled wake who waits for their end', async () => {
      const waiting = post(web.url, 'face/image', { file, query: 'wait=20' });
      const { task_id } = await waitFor('the task', async () => (await list()).tasks[0]);
      await cancel(task_id);
      const answer = await waiting;
      expect([answer.status, answer.body.data.state]).toEqual([200, 'REVOKED']);
      expect(answer.ms).toBeLessThan(5000);
    });

    it('that are cancelled stay so under their idempotency key', async () => {
      const headers = { 'Idempotency-Key': 'cancelled' };
      const id = await submit(web.url, 'face/image', { file, headers });
      await cancel(id);
      const before = stored();
      const again = await post(web.url, 'face/image', { file, headers });
      expect([again.status, again.body.data.task_id]).toEqual([202, id]);
      expect(stored()).toEqual(before);
      expect((await getTask(web.url, id)).state).toBe('REVOKED');
    });

    it('are streamed to everybody who listens until they are cancelled', async () => {
      const id = await submit(web.url, 'face/image', { file });
      const streams = await Promise.all([1, 2].map(() => openEvents(`${web.url}/api/task/${id}/events`)));
      await waitFor('the first event', () => streams.every(({ events }) => events.length > 0));
      await cancel(id);
      for (const { status, headers, events, closed } of streams) {
        await closed;
        expect(status).toBe(200);
        expect(headers.get('content-type')).toMatch(/^text\/event-stream/);
        expect(headers.get('cache-control')).toBe('no-store');
        expect(events.map(({ event }) => event)).toEqual(['progress', 'done']);
        expect(events.map(({ data }) => data)).toMatchObject([
          { task_id: id, state: 'PENDING', position: 1 },
          { task_id: id, state: 'REVOKED' },
        ]);
      }
    });

    it('are streamed with heartbeats, so that no proxy takes the silence for the end', async () => {
      const id = await submit(web.url, 'face/image', { file });
      const stream = await openEvents(`${web.url}/api/task/${id}/events`);
      await waitFor('a heartbeat', () => stream.comments.length > 0, { timeoutMs: 20_000, intervalMs: 200 });
      expect(stream.events.map(({ event }) => event)).toEqual(['progress']);
      stream.abort();
      await stream.closed;
    });

    it('do not keep a stop of the web process waiting', async () => {
      const id = await submit(web.url, 'face/image', { file });
      const other = await startAnotherWeb(web.folders, { ...web.env, GRACE_PERIOD: '20' });
      const stream = await openEvents(`${other.url}/api/task/${id}/events`);
      const waiting = post(other.url, 'face/image', { file, query: 'wait=20' });
      await waitFor('the second task', async () => (await list()).tasks.length === 2);
      const start = performance.now();
      await other.stop();
      expect(performance.now() - start).toBeLessThan(3000);
      await stream.closed;
      expect(stream.events.map(({ event }) => event)).toEqual(['progress']);
      expect((await waiting).status).toBe(202);
    });
  });

  describe('in a list', () => {
    let ids: string[];
    beforeAll(async () => {
      ids = [];
      const queued = Array.from({ length: 250 }, (_, index) => index);
      // A few at a time: many share a millisecond, and their order must hold all the same.
      for (let i = 0; i < queued.length; i += 25) {
        const batch = queued.slice(i, i + 25);
        ids.push(
          ...(await Promise.all(
            batch.map((n) => submit(web.url, n % 5 === 0 ? 'object/image' : 'face/image', { file })),
          )),
        );
      }
      for (const id of ids.slice(0, 10)) await cancel(id);
    });
    afterAll(emptied);

    it('are the newest first, all of them, page by page', async () => {
      const seen: { task_id: string; created_at: string }[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const page: Awaited<ReturnType<typeof list>> = await list(
          `?limit=40${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
        );
        seen.push(...page.tasks);
        cursor = page.next_cursor;
        pages++;
      } while (cursor !== null);
      expect(pages).toBeLessThanOrEqual(8);
      expect(seen.length).toBe(250);
      expect(new Set(seen.map(({ task_id }) => task_id))).toEqual(new Set(ids));
      const times = seen.map(({ created_at }) => created_at);
      expect(times).toEqual([...times].sort().reverse());
    });

    it('come fifty at a time, or as many as asked for', async () => {
      expect((await list()).tasks.length).toBe(50);
      expect((await list('?limit=1')).tasks.length).toBe(1);
      expect((await list('?limit=200')).tasks.length).toBe(200);
    });

    it('are filtered by state and queue', async () => {
      const revoked = await list('?state=REVOKED&limit=200');
      expect(new Set(revoked.tasks.map(({ task_id }) => task_id))).toEqual(new Set(ids.slice(0, 10)));
      expect(revoked.next_cursor).toBeNull();
      const objects = await list('?queue=object_detection&limit=200');
      expect(objects.tasks.length).toBe(50);
      expect(new Set(objects.tasks.map(({ queue }) => queue))).toEqual(new Set(['object_detection']));
      const both = await list('?queue=object_detection&state=REVOKED&limit=5');
      expect(both.tasks.length).toBe(2);
      expect((await list('?state=SUCCESS')).tasks).toEqual([]);
    });

    it('show what GET shows', async () => {
      const [newest] = (await list('?limit=1')).tasks;
      expect(newest).toEqual(await getTask(web.url, newest?.task_id ?? ''));
    });

    it.each([
      'state=DONE',
      'state=pending',
      'state=',
      'queue=video',
      'limit=0',
      'limit=201',
      'limit=-1',
      'limit=ten',
      'limit=',
      'limit=1&limit=2',
      'cursor=x',
      'cursor=',
      'cursor=%00',
      `cursor=${Buffer.from('1e3 x').toString('base64url')}`,
      'page=2',
    ])('refuse ?%s by name', async (query) => {
      const answer = await call(`${web.url}/api/tasks?${query}`);
      expectError(answer, 400, 'INVALID_OPTION');
      expect(answer.body.message).toContain(query.split('=')[0]);
    });
  });

  describe('with a worker', () => {
    let worker: Running;
    let lanes: number[];
    beforeAll(async () => {
      worker = await startWorker('face', web.folders, web.env);
    });
    afterAll(() => worker?.stop());
    beforeEach(async () => {
      lanes = await waitFor('a lane', () => (lanePids().length > 0 ? lanePids() : undefined));
    });
    let open: EventStream[] = [];
    afterEach(() => {
      signalAll(
        lanes.filter((pid) => !isGone(pid)),
        'SIGCONT',
      );
      for (const stream of open) stream.abort();
      open = [];
    });

    /** A task that stays PROCESSING for as long as its lane is held. */
    async function held(): Promise<string> {
      signalAll(lanes, 'SIGSTOP');
      const id = await submit(web.url, 'face/image', { file });
      await taskIn(web.url, id, ['PROCESSING']);
      // Long enough for it to have reached the lane: one that is cancelled before leaves the lane alone.
      await sleep(300);
      return id;
    }

    it('are PROCESSING, then SUCCESS', async () => {
      const id = await held();
      expect(await getTask(web.url, id)).toEqual({
        task_id: id,
        state: 'PROCESSING',
        status: 'Detecting faces in image',
        queue: 'face_detection',
        worker: 'face_worker_1',
        attempts: 1,
        created_at: expect.any(String),
        started_at: expect.any(String),
        options: expect.any(Object),
      });
      expect((await list('?state=PROCESSING')).tasks.map(({ task_id }) => task_id)).toEqual([id]);
      signalAll(lanes, 'SIGCONT');
      expect((await ended(web.url, id)).state).toBe('SUCCESS');
    });

    it('are cancelled within two seconds while they run, and the slot is free again', async () => {
      const before = stored();
      const id = await held();
      const answer = await cancel(id);
      expect([answer.status, answer.body.data.state]).toEqual([200, 'REVOKED']);
      expect(answer.ms).toBeLessThan(2000);
      await waitFor('the end of the lane', () => lanes.every(isGone));
      expect((await getTask(web.url, id)).state).toBe('REVOKED');
      expect(stored()).toEqual(before);
      const again = await cancel(id);
      expect([again.status, again.body.data.state]).toEqual([200, 'REVOKED']);
      const next = await submit(web.url, 'face/image', { file });
      expect((await ended(web.url, next)).state).toBe('SUCCESS');
      expect((await getTask(web.url, id)).state).toBe('REVOKED');
    });

    it('that have ended cannot be cancelled', async () => {
      const good = await submit(web.url, 'face/image', { file });
      const bad = await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') });
      expect((await ended(web.url, good)).state).toBe('SUCCESS');
      expect((await ended(web.url, bad)).state).toBe('FAILURE');
      for (const id of [good, bad]) expectError(await cancel(id), 409, 'TASK_FINISHED');
      expect((await getTask(web.url, good)).state).toBe('SUCCESS');
    });

    it('that failed say why, once, and never SUCCESS', async () => {
      const id = await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') });
      const task = await ended(web.url, id);
      expect(task).toMatchObject({
        state: 'FAILURE',
        attempts: 1,
        error: { error_code: 'UNREADABLE_MEDIA', message: expect.stringMatching(/^[A-Z].*\.$/) },
        finished_at: expect.any(String),
      });
      expect(task.status).toBe(task.error?.message);
      expect(task).not.toHaveProperty('result');
    });

    it('are streamed as they go on: one done, then the end', async () => {
      const id = await held();
      const stream = await openEvents(`${web.url}/api/task/${id}/events`);
      open.push(stream);
      await waitFor('the state so far', () => stream.events.length > 0);
      const late = await openEvents(`${web.url}/api/task/${id}/events`, { 'Last-Event-ID': '7' });
      open.push(late);
      signalAll(lanes, 'SIGCONT');
      await Promise.all([stream.closed, late.closed]);
      for (const { events } of [stream, late]) {
        expect(events.map(({ event }) => event)).toEqual(['progress', 'done']);
        expect(events[0]?.data).toMatchObject({ state: 'PROCESSING', status: 'Detecting faces in image' });
        expect(events[1]?.data).toEqual(await getTask(web.url, id));
      }
      const after = await openEvents(`${web.url}/api/task/${id}/events`);
      await after.closed;
      expect(after.events.map(({ event }) => event)).toEqual(['done']);
    });

    it('are told as failed in the stream, too', async () => {
      const id = await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') });
      const stream = await openEvents(`${web.url}/api/task/${id}/events`);
      await stream.closed;
      expect(stream.events.at(-1)).toMatchObject({ event: 'done', data: { state: 'FAILURE' } });
    });

    it('cost nothing once their listener has hung up', async () => {
      const id = await held();
      const streams = await Promise.all(
        Array.from({ length: 20 }, () => openEvents(`${web.url}/api/task/${id}/events`)),
      );
      await waitFor('all to hear', () => streams.every(({ events }) => events.length > 0));
      for (const stream of streams) stream.abort();
      await Promise.all(streams.map(({ closed }) => closed));
      const commands = async () =>
        Number(/total_commands_processed:(\d+)/.exec(await web.redis.client().info('stats'))?.[1]);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const start = await commands();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      // A listener asks several times a second; worker and heartbeat alone need a handful.
      expect((await commands()) - start).toBeLessThan(60);
      signalAll(lanes, 'SIGCONT');
      await ended(web.url, id);
    });

    it('answer HEAD like GET, without a body', async () => {
      const id = await held();
      for (const path of [`/api/task/${id}`, `/api/task/${id}/events`]) {
        const response = await fetch(`${web.url}${path}`, { method: 'HEAD' });
        expect([response.status, await response.text()]).toEqual([200, '']);
      }
      signalAll(lanes, 'SIGCONT');
      await ended(web.url, id);
    });
  });

  it('all live under one prefix', async () => {
    const keys = await web.redis.client().keys('*');
    expect(keys.filter((key) => !key.startsWith(`${PREFIX}:`))).toEqual([]);
  });
});
