import { pino } from 'pino';
import { expect } from 'vitest';
import type { ScalingView } from '../../src/contract/answers.ts';
import { runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { call, ended, post, submit, taskIn } from './api.ts';
import { askDashboard } from './dashboard-client.ts';
import { openEvents } from './events.ts';
import { lanePids, signalAll } from './lanes.ts';
import { goodPicture } from './pictures.ts';
import { parseExposition, sampleValue } from './prometheus.ts';
import { waitFor } from './wait-for.ts';
import { type TestWeb, testConfig } from './web.ts';

const json = async <T>(address: string) => (await (await fetch(address)).json()) as T;

type Web = Omit<TestWeb, 'redis'>;

/** What a client and an operator do in a day, once each; works with two workers of one slot. */
export async function expectWholeApi(web: Web): Promise<void> {
  const file = goodPicture();
  const { url } = web;
  const health = await call(`${url}/api/health`);
  expect(health.body.data).toMatchObject({
    status: 'ok',
    services: { redis: { up: true }, face_detection: { up: true, workers: 1 }, object_detection: { up: true } },
  });
  expect((await call(`${url}/api/health/ready`)).status).toBe(200);

  const once = { file, headers: { 'Idempotency-Key': 'k' } };
  const [one, same] = [await submit(url, 'face/image', once), await submit(url, 'face/image', once)];
  expect(same).toBe(one);
  expect(await ended(url, one)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
  const waited = await post(url, 'object/image', { file, query: 'wait=20' });
  expect(waited.body.data).toMatchObject({ state: 'SUCCESS' });
  expect(waited.headers.get('ratelimit-limit')).toBe('5000');

  // One runs, held; one waits behind it. Both are cancelled.
  signalAll(lanePids(), 'SIGSTOP');
  const running = await submit(url, 'face/image', { file });
  await taskIn(url, running, ['PROCESSING']);
  const waiting = await submit(url, 'face/image', { file, fields: { priority: '3' } });
  const events = await openEvents(`${url}/api/task/${waiting}/events`);
  const scaling = await json<ScalingView>(`${url}/metrics/scaling`);
  expect(scaling.queues.face_detection).toMatchObject({ depth: 2, active: 1, prioritized: 1 });
  for (const id of [waiting, running]) {
    const cancelled = await call(`${url}/api/task/${id}`, { method: 'DELETE' });
    expect([cancelled.status, cancelled.body.data.state]).toEqual([200, 'REVOKED']);
    expect(cancelled.ms).toBeLessThan(2500);
  }
  await events.closed;
  expect(events.events.at(-1)).toMatchObject({ event: 'done', data: { state: 'REVOKED' } });
  signalAll(lanePids(), 'SIGCONT');

  const list = await call(`${url}/api/tasks?limit=10`);
  const ids = (list.body.data.tasks as { task_id: string }[]).map(({ task_id }) => task_id);
  expect(ids.slice(0, 3)).toEqual([waiting, running, waited.body.data.task_id]);
  expect(ids).toContain(one);
  const metrics = await fetch(`${url}/metrics`);
  expect(sampleValue(parseExposition(await metrics.text()), 'recognize_redis_up')).toBe(1);

  const log = pino({ level: 'silent' });
  const dashboard = await runDashboard(
    testConfig(web.folders, { ...web.env, DASHBOARD_PORT: '0' }),
    log,
    () => undefined,
  );
  try {
    await waitFor('the dashboard to have Redis', async () => (await fetch(`${dashboard.url}/api/health/ready`)).ok);
    const board = `${dashboard.url}/api/queues?activeQueue=face_detection`;
    const { queues } = await json<{ queues: { counts: Record<string, number> }[] }>(board);
    expect(queues).toHaveLength(2);
    expect(queues[0]?.counts.completed).toBeGreaterThan(0);
    expect((await fetch(`${dashboard.url}/metrics/scaling`)).status).toBe(200);
    for (const path of ['overview', 'history', 'workers', 'tasks', `tasks/${one}`, 'audit']) {
      const answer = await askDashboard(dashboard.url, `/api/admin/${path}`);
      expect(answer.status, answer.text).toBe(200);
    }
    for (const order of ['drain', 'resume']) {
      const answer = await askDashboard<{ applied: boolean }>(
        dashboard.url,
        `/api/admin/workers/face_worker_1/${order}`,
        { body: {} },
      );
      expect(answer.data, answer.text).toMatchObject({ applied: true });
    }
  } finally {
    await dashboard.stop();
  }
}
