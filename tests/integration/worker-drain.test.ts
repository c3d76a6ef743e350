import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { type Running, runWorker } from '../../src/worker/run-worker.ts';
import { ended, getTask } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb, testConfig } from '../support/web.ts';

describe.skipIf(!requireShared())('a worker that is told to stop', () => {
  let web: TestWeb;
  const { post, postHeld } = objectTasks(() => web.url);

  beforeAll(async () => {
    web = await startWeb({ models: ['yolox_nano'], workers: [] });
  });

  afterAll(async () => {
    await web.stop();
  });

  async function timed(work: Promise<unknown>): Promise<number> {
    const startedAt = performance.now();
    await work;
    return performance.now() - startedAt;
  }

  const start = (env: Record<string, string> = {}): Promise<Running> =>
    startWorker('object', web.folders, { ...web.env, ...env });

  it('finishes what runs, takes nothing more, and does not wait for the rest of its grace', async () => {
    const worker = await start({ GRACE_PERIOD: '20' });
    const { taskId: running, lane } = await postHeld();
    const waiting = await post();
    const stopping = worker.stop();
    setTimeout(lane.release, 500);
    expect(await timed(stopping)).toBeLessThan(4000);
    expect(await getTask(web.url, running)).toMatchObject({ state: 'SUCCESS', attempts: 1, worker: worker.name });
    expect(await getTask(web.url, waiting)).toMatchObject({ state: 'PENDING', attempts: 0, position: 1 });
    expect(lanePids()).toEqual([]);
    const next = await start();
    expect(await ended(web.url, waiting)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    await next.stop();
  });

  it('hands back what it cannot finish, which another one takes at once and which does not count as a loss', async () => {
    const worker = await start({ GRACE_PERIOD: '1' });
    const { taskId } = await postHeld();
    const other = await start();
    // Until the other one has nothing to do and sleeps.
    await sleep(500);
    const stopping = worker.stop();
    const ms = await timed(stopping);
    expect(ms).toBeGreaterThan(950);
    expect(ms).toBeLessThan(4000);
    const task = await waitFor(
      'the task to be taken over',
      async () => {
        const current = await getTask(web.url, taskId);
        return current.worker === other.name ? current : undefined;
      },
      { timeoutMs: 1500 },
    );
    expect(task.attempts).toBe(2);
    expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: other.name });
    expect(await web.redis.client().hget(KEYS.job('object_detection', taskId), 'losses')).toBe('0');
    await other.stop();
  });

  it('may hand back as often as it likes without the task being given up', async () => {
    let worker = await start({ GRACE_PERIOD: '0' });
    const { taskId } = await postHeld();
    for (let round = 0; round < 3; round++) {
      const before = lanePids();
      const next = await start({ GRACE_PERIOD: '0' });
      signalAll(
        lanePids().filter((pid) => !before.includes(pid)),
        'SIGSTOP',
      );
      await worker.stop();
      await waitFor('the next worker to have it', async () => (await getTask(web.url, taskId)).worker === next.name);
      worker = next;
    }
    signalAll(lanePids(), 'SIGCONT');
    expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 4 });
    await worker.stop();
  });

  it('leaves the list of workers and gives its name free', async () => {
    const worker = await start();
    const client = web.redis.client();
    expect(await client.exists(KEYS.worker(worker.name))).toBe(1);
    await worker.stop();
    expect(await client.exists(KEYS.worker(worker.name), KEYS.workerLease('object', 1))).toBe(0);
    const next = await start();
    expect(next.name).toBe(worker.name);
    await next.stop();
  });

  it('shows itself as draining for as long as it drains', async () => {
    const worker = await start({ GRACE_PERIOD: '12' });
    const { taskId, lane } = await postHeld();
    const stopping = worker.stop();
    // Longer than a heartbeat lasts.
    await sleep(10_500);
    const heartbeat = JSON.parse((await web.redis.client().get(KEYS.worker(worker.name))) ?? '{}') as {
      state?: string;
      current?: { task_id: string }[];
    };
    expect(heartbeat).toMatchObject({ state: 'draining', current: [{ task_id: taskId }] });
    lane.release();
    await stopping;
    expect(await getTask(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
  });

  it('stops before it has become ready', async () => {
    const config = testConfig(web.folders, web.env);
    const worker = await runWorker(
      'object',
      config,
      pino({ level: 'silent' }),
      () => undefined,
      () => undefined,
    );
    await sleep(100);
    expect(await timed(worker.stop())).toBeLessThan(4000);
    await waitFor('its detection processes to be gone', () => lanePids().length === 0);
  });
});
