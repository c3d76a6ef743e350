import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS, PREFIX } from '../../src/queue/keys.ts';
import { call, ended, getTask, submit, taskIn } from '../support/api.ts';
import { isGone, lanePids, signalAll } from '../support/lanes.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb } from '../support/web.ts';

const DOG = sharedPath('data/samples/dog.jpg');
const TIME_LIMIT_S = 8;

describe.skipIf(!requireShared())('a task under which something fails', () => {
  let web: TestWeb;
  let dog: Uint8Array<ArrayBuffer>;
  const post = (fields = {}) => submit(web.url, 'object/image', { file: dog, fields });

  beforeAll(async () => {
    dog = new Uint8Array(readFileSync(DOG));
    web = await startWeb({
      models: ['yolox_nano'],
      workers: ['object'],
      env: { TASK_TIME_LIMIT: String(TIME_LIMIT_S) },
    });
  });

  afterAll(async () => {
    await web.stop();
  });

  /** Posts a task that the stopped detection process holds; answers both. */
  async function heldTask(): Promise<{ taskId: string; lane: number }> {
    await ended(web.url, await post());
    const [lane = 0, ...others] = lanePids();
    expect(others).toEqual([]);
    process.kill(lane, 'SIGSTOP');
    const taskId = await post();
    await taskIn(web.url, taskId, ['PROCESSING']);
    // Long enough for a living process to have taken it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { taskId, lane };
  }

  async function expectSoundService(): Promise<void> {
    const task = await ended(web.url, await post());
    expect(task).toMatchObject({ state: 'SUCCESS', attempts: 1 });
  }

  it('is tried again when its detection process dies', async () => {
    const { taskId, lane } = await heldTask();
    process.kill(lane, 'SIGKILL');
    expect(await taskIn(web.url, taskId, ['RETRY'])).toMatchObject({ status: 'Waiting to be tried again' });
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2 });
    expect(task.error).toBeUndefined();
  });

  it('ends in WORKER_LOST when two have died under it', async () => {
    const { taskId, lane } = await heldTask();
    process.kill(lane, 'SIGKILL');
    await taskIn(web.url, taskId, ['RETRY']);
    const [next = 0] = await waitFor('the next detection process', () => {
      const pids = lanePids();
      return pids.length === 1 && !pids.includes(lane) ? pids : undefined;
    });
    process.kill(next, 'SIGSTOP');
    await taskIn(web.url, taskId, ['PROCESSING']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.kill(next, 'SIGKILL');
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 2, error: { error_code: 'WORKER_LOST' } });
    expect(task.status).toBe(task.error?.message);
    await expectSoundService();
  });

  it('ends in TIMEOUT on time when its detection process hangs, which is gone then', async () => {
    const { taskId, lane } = await heldTask();
    const startedAt = Date.parse((await getTask(web.url, taskId)).started_at ?? '');
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 1, error: { error_code: 'TIMEOUT' } });
    const tookMs = Date.parse(task.finished_at ?? '') - startedAt;
    expect(tookMs).toBeGreaterThanOrEqual(TIME_LIMIT_S * 1000);
    expect(tookMs).toBeLessThan(TIME_LIMIT_S * 1000 + 1500);
    expect(isGone(lane)).toBe(true);
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
      await new Promise((resolve) => setTimeout(resolve, 300));
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
    const { taskId, lane } = await heldTask();
    const name = await storedName(taskId);
    const path = join(web.folders.uploads, name);
    renameSync(path, `${path}.away`);
    process.kill(lane, 'SIGCONT');
    const waiting = await taskIn(web.url, taskId, ['RETRY']);
    expect(waiting.attempts).toBe(1);
    renameSync(`${path}.away`, path);
    expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 2 });
  });

  it('ends in INTERNAL, without a path, when storage fails three times', async () => {
    const { taskId, lane } = await heldTask();
    const path = join(web.folders.uploads, await storedName(taskId));
    renameSync(path, `${path}.away`);
    const startedAt = performance.now();
    process.kill(lane, 'SIGCONT');
    const task = await ended(web.url, taskId);
    expect(task).toMatchObject({ state: 'FAILURE', attempts: 3, error: { error_code: 'INTERNAL' } });
    // 1 to 2 s before the second attempt, 2 to 4 s before the third.
    expect(performance.now() - startedAt).toBeGreaterThan(3000);
    expect(JSON.stringify(await rawJob(taskId))).not.toContain(web.folders.root);
  });

  it('is not tried again for a picture that is damaged', async () => {
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

  it('keeps one result when it ran twice', async () => {
    const { taskId, lane } = await heldTask();
    const other = await startWorker('object', web.folders, web.env);
    try {
      const client = web.redis.client();
      // What another worker does with the task of one that it has not heard of for too long.
      await client
        .multi()
        .del(KEYS.lock('object_detection', taskId))
        .lrem(KEYS.active('object_detection'), 1, taskId)
        .rpush(`${PREFIX}:object_detection:wait`, taskId)
        .zadd(KEYS.marker('object_detection'), 0, '0')
        .exec();
      const task = await ended(web.url, taskId);
      expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: other.name });
      process.kill(lane, 'SIGCONT');
      await expectSoundService();
      await waitFor('both workers to be idle', async () => (await health()).busy === 0);
      expect(await getTask(web.url, taskId)).toEqual(task);
      expect(await client.lpos(KEYS.active('object_detection'), taskId)).toBeNull();
      expect(await client.hget(KEYS.job('object_detection', taskId), 'losses')).toBeNull();
    } finally {
      await other.stop();
    }
  });

  async function health(): Promise<{ busy: number }> {
    const { services } = (await call(`${web.url}/api/health`)).body.data as {
      services: Record<string, { busy: number }>;
    };
    return services.object_detection ?? { busy: Number.NaN };
  }

  const rawJob = (taskId: string) => web.redis.client().hgetall(KEYS.job('object_detection', taskId));

  async function storedName(taskId: string): Promise<string> {
    const { data } = await rawJob(taskId);
    return (JSON.parse(data ?? '') as { file: { name: string } }).file.name;
  }
});
