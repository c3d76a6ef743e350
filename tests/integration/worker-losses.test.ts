import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { liveWorkers } from '../../src/queue/heartbeat.ts';
import { KEYS, PREFIX } from '../../src/queue/keys.ts';
import { call, ended, getTask, submit, taskIn } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { dogPicture, objectTasks } from '../support/object-tasks.ts';
import { isGone } from '../support/processes.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb } from '../support/web.ts';

const TIME_LIMIT_S = 8;
const QUEUE = 'object_detection';

describe.skipIf(!requireShared())('a task under which something fails', () => {
  let web: TestWeb;
  const { post, postHeld } = objectTasks(() => web.url);

  beforeAll(async () => {
    web = await startWeb({
      models: ['yolox_nano'],
      workers: ['object'],
      env: { TASK_TIME_LIMIT: String(TIME_LIMIT_S) },
    });
  });

  afterAll(async () => {
    await web.stop();
  });

  async function expectSoundService(): Promise<void> {
    const task = await ended(web.url, await post());
    expect(task).toMatchObject({ state: 'SUCCESS', attempts: 1 });
  }

  it('is tried again when its detection process dies', async () => {
    const { taskId, lane } = await postHeld();
    lane.kill();
    expect(await taskIn(web.url, taskId, ['RETRY'])).toMatchObject({ status: 'Waiting to be tried again' });
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2 });
    expect(task.error).toBeUndefined();
  });

  it('ends in WORKER_LOST when two have died under it', async () => {
    const { taskId, lane } = await postHeld();
    const queue = new Queue(QUEUE, { connection: web.redis.client(), prefix: PREFIX });
    await queue.pause();
    const killedAt = Date.now();
    lane.kill();
    await taskIn(web.url, taskId, ['RETRY']);
    const next = await nextLane(lane.pid, killedAt);
    process.kill(next, 'SIGSTOP');
    await queue.resume();
    await queue.close();
    await taskIn(web.url, taskId, ['PROCESSING']);
    await sleep(300);
    process.kill(next, 'SIGKILL');
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 2, error: { error_code: 'WORKER_LOST' } });
    expect(task.status).toBe(task.error?.message);
    await expectSoundService();
  });

  it('is not blamed where one that was to take it is killed while it loads', async () => {
    const { taskId, lane } = await postHeld();
    lane.kill();
    await taskIn(web.url, taskId, ['RETRY']);
    const loading = await waitFor('the next detection process', () => lanePids().find((pid) => pid !== lane.pid));
    // As long as it is stopped it does not get ready, so the task waits for it.
    process.kill(loading, 'SIGSTOP');
    await taskIn(web.url, taskId, ['PROCESSING']);
    await sleep(300);
    process.kill(loading, 'SIGKILL');
    expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 3 });
  });

  it('ends in TIMEOUT on time when its detection process hangs, which is gone then', async () => {
    const { taskId, lane } = await postHeld();
    const startedAt = Date.parse((await getTask(web.url, taskId)).started_at ?? '');
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 1, error: { error_code: 'TIMEOUT' } });
    const tookMs = Date.parse(task.finished_at ?? '') - startedAt;
    expect(tookMs).toBeGreaterThanOrEqual(TIME_LIMIT_S * 1000);
    expect(tookMs).toBeLessThan(TIME_LIMIT_S * 1000 + 3000);
    expect(isGone(lane.pid)).toBe(true);
    await expectSoundService();
  });

  it('is unharmed by the death of an idle detection process', async () => {
    await waitFor('a detection process', () => lanePids().length === 1);
    signalAll(lanePids(), 'SIGKILL');
    await expectSoundService();
  });

  it('does not take the other tasks of its worker with it', async () => {
    const other = await startWorker('object', web.folders, { ...web.env, WORKER_CONCURRENCY: '2' });
    try {
      const all = await waitFor('three detection processes', () => (lanePids().length === 3 ? lanePids() : undefined));
      signalAll(all, 'SIGSTOP');
      const taskIds = await Promise.all([post(), post(), post()]);
      await Promise.all(taskIds.map((taskId) => taskIn(web.url, taskId, ['PROCESSING'])));
      await sleep(300);
      const [victim = 0, ...rest] = all;
      process.kill(victim, 'SIGKILL');
      signalAll(rest, 'SIGCONT');
      const tasks = await Promise.all(taskIds.map((taskId) => ended(web.url, taskId)));
      expect(tasks.map(({ state }) => state)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
      expect(tasks.map(({ attempts }) => attempts).sort()).toEqual([1, 1, 2]);
    } finally {
      await other.stop();
    }
  });

  it('is tried again while storage fails, and succeeds once it does not', async () => {
    const { taskId, lane } = await postHeld();
    const name = await storedName(taskId);
    const path = join(web.folders.uploads, name);
    renameSync(path, `${path}.away`);
    lane.release();
    const waiting = await taskIn(web.url, taskId, ['RETRY']);
    expect(waiting.attempts).toBe(1);
    renameSync(`${path}.away`, path);
    expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 2 });
  });

  it('ends in INTERNAL, without a path, when storage fails three times', async () => {
    const { taskId, lane } = await postHeld();
    const path = join(web.folders.uploads, await storedName(taskId));
    renameSync(path, `${path}.away`);
    const startedAt = performance.now();
    lane.release();
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 3, error: { error_code: 'INTERNAL' } });
    // 1 to 2 s before the second attempt, 2 to 4 s before the third.
    expect(performance.now() - startedAt).toBeGreaterThan(3000);
    expect(JSON.stringify(await rawJob(taskId))).not.toContain(web.folders.root);
  });

  it('is not tried again for a picture that is damaged', async () => {
    const dog = dogPicture();
    const cutOff = dog.slice(0, dog.length / 2);
    const task = await ended(web.url, await submit(web.url, 'object/image', { file: cutOff }));
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 1, error: { error_code: 'UNREADABLE_MEDIA' } });
  });

  it('ends in INTERNAL when another version of the service wrote it; the rest goes on', async () => {
    const client = web.redis.client();
    const queue = new Queue('object_detection', { connection: client, prefix: PREFIX });
    const options = { attempts: 3, priority: 1 };
    const fromTheFuture = randomUUID();
    const fromNowhere = randomUUID();
    await queue.add('image', { v: 99, kind: 'object' }, { ...options, jobId: fromTheFuture });
    await queue.add('image', null, { ...options, jobId: fromNowhere });
    await client.zadd(KEYS.index(null), Date.now(), `object_detection:${fromTheFuture}`);
    for (const taskId of [fromTheFuture, fromNowhere]) {
      const task = await ended(web.url, taskId);
      expect(task).toMatchObject({ state: 'FAILURE', attempts: 1, error: { error_code: 'INTERNAL' } });
    }
    const list = await call(`${web.url}/api/tasks?limit=200`);
    expect(list.status).toBe(200);
    expect(list.text).toContain(fromTheFuture);
    expect((await call(`${web.url}/api/task/${fromNowhere}`, { method: 'DELETE' })).status).toBe(409);
    await queue.close();
    await expectSoundService();
  });

  it('is run by one attempt alone where its own worker is handed it once more', async () => {
    const other = await startWorker('object', web.folders, { ...web.env, WORKER_CONCURRENCY: '2' });
    const redis = web.redis.client();
    try {
      // The worker with one slot is kept busy by a task that hangs, so that all else is for the one with two.
      const all = await waitFor('three detection processes', () => (lanePids().length === 3 ? lanePids() : undefined));
      signalAll(all, 'SIGSTOP');
      const taskIds = [await post(), await post()];
      const tasks = await Promise.all(taskIds.map((taskId) => taskIn(web.url, taskId, ['PROCESSING'])));
      const twin = tasks.find(({ worker }) => worker === other.name)?.task_id ?? '';
      await sleep(300);
      await handOutAgain(redis, twin);
      await waitFor('its first attempt to be ended', () => all.some(isGone));
      signalAll(
        all.filter((pid) => !isGone(pid)),
        'SIGCONT',
      );
      // What was handed out anew was given back, does not count, and then ran.
      const ends = await Promise.all(taskIds.map((taskId) => ended(web.url, taskId)));
      expect(ends.map(({ state }) => state)).toEqual(['SUCCESS', 'SUCCESS']);
      expect(ends.find(({ task_id }) => task_id === twin)?.attempts).toBe(2);
      expect(await redis.llen(KEYS.active(QUEUE))).toBe(0);
      expect(Number(await redis.hget(KEYS.job(QUEUE, twin), 'losses'))).toBe(0);
    } finally {
      await other.stop();
    }
  });

  it('keeps one result when it ran twice', async () => {
    const { taskId, lane } = await postHeld();
    const other = await startWorker('object', web.folders, web.env);
    try {
      const client = web.redis.client();
      await handOutAgain(client, taskId);
      const task = await ended(web.url, taskId);
      expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: other.name });
      lane.release();
      await expectSoundService();
      await waitFor('both workers to be idle', async () => (await health()).busy === 0);
      expect(await getTask(web.url, taskId)).toEqual(task);
      expect(await client.lpos(KEYS.active('object_detection'), taskId)).toBeNull();
      expect(await client.hget(KEYS.job('object_detection', taskId), 'losses')).toBeNull();
    } finally {
      await other.stop();
    }
  });

  /** The detection process after one that was killed, once it has loaded its model. */
  async function nextLane(killed: number, killedAt: number): Promise<number> {
    await waitFor('its model to be in memory', async () => {
      const [worker] = await liveWorkers(web.redis.client());
      return worker !== undefined && worker.beat_at > killedAt && worker.models.length > 0;
    });
    // It runs its model once before it is ready.
    await sleep(500);
    const [next = killed, ...others] = lanePids();
    expect(others).toEqual([]);
    expect(next).not.toBe(killed);
    return next;
  }

  async function health(): Promise<{ busy: number }> {
    const { services } = (await call(`${web.url}/api/health`)).body.data as {
      services: Record<string, { busy: number }>;
    };
    return services.object_detection ?? { busy: Number.NaN };
  }

  /** What another worker does with the task of one that it has not heard of for too long. */
  async function handOutAgain(redis: Redis, taskId: string): Promise<void> {
    await redis
      .multi()
      .del(KEYS.lock(QUEUE, taskId))
      .lrem(KEYS.active(QUEUE), 1, taskId)
      .rpush(KEYS.waiting(QUEUE), taskId)
      .zadd(KEYS.marker(QUEUE), 0, '0')
      .exec();
  }

  const rawJob = (taskId: string) => web.redis.client().hgetall(KEYS.job('object_detection', taskId));

  async function storedName(taskId: string): Promise<string> {
    const { data } = await rawJob(taskId);
    return (JSON.parse(data ?? '') as { file: { name: string } }).file.name;
  }
});
