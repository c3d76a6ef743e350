import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import type { AuditList, BulkOutcome, TaskDetail, TaskPage } from '../../src/contract/admin.ts';
import { queuePriority } from '../../src/contract/options.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { KEYS, PREFIX, taskMember } from '../../src/queue/keys.ts';
import { readScaling } from '../../src/queue/metrics.ts';
import { openQueues, type Queues } from '../../src/queue/queues.ts';
import { createKeyring } from '../../src/sealing/keyring.ts';
import { askDashboard } from '../support/dashboard-client.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

/* Failed tasks that are queued again, over tasks that fail at once whenever they are run. */

const COUNT = 350;
const HOUR_MS = 3_600_000;

let server: TestRedis;
let dashboard: RunningDashboard;
let queues: Queues;
let client: ReturnType<TestRedis['client']>;
let worker: Worker;
const logged: { audit?: object; taskIds?: string[] }[] = [];
const runs = new Map<string, number>();

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
  await waitFor('Redis', () => client.status === 'ready');
  queues = openQueues(client);
  const log = pino({ level: 'error' }, { write: (line) => void logged.push(JSON.parse(line)) });
  dashboard = await runDashboard(
    loadConfig({ REDIS_URL: server.url, DATA_DIR: tempDir('d'), DASHBOARD_PORT: '0' }),
    log,
  );
  await waitFor('the dashboard', async () => (await askDashboard(dashboard.url, '/api/health/ready')).status === 200);
  worker = new Worker(
    'face_detection',
    async ({ id = '' }) => {
      runs.set(id, (runs.get(id) ?? 0) + 1);
      throw new Error('UNREADABLE_MEDIA: The picture is broken.');
    },
    {
      connection: { path: server.socket, maxRetriesPerRequest: null },
      prefix: PREFIX,
      autorun: false,
      concurrency: 20,
    },
  );
  worker.on('error', () => {});
  worker.run().catch(() => undefined);
});

beforeEach(async () => {
  logged.length = 0;
  runs.clear();
  await queues.face.obliterate({ force: true });
  await queues.face.resume();
});

afterAll(async () => {
  await worker?.close();
  await queues?.face.close();
  await queues?.object.close();
  await dashboard?.stop();
  await server?.stop();
});

const data = {
  v: 1,
  kind: 'face',
  media: 'image',
  owner: null,
  request_id: 'r',
  file: { name: `${'0'.repeat(32)}.jpg`, mime: 'image/jpeg', bytes: 1, sha256: '0'.repeat(64), width: 6, height: 4 },
  annotated: null,
  options: { model: 'yunet', confidence: 0.6, nms: 0.3, max_detections: 100, annotate: 'false', priority: 5 },
};

/** So many tasks of an hour ago that have failed. */
async function failed(count: number, attempts = 1, into = queues, others = 0): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  const priority = queuePriority(5, false);
  const timestamp = Date.now() - HOUR_MS;
  await into.face.addBulk(
    ids.map((jobId) => ({ name: 'image', data, opts: { jobId, attempts, priority, timestamp } })),
  );
  await waitFor('all to fail', async () => (await queues.face.getJobCounts('failed')).failed === count + others, {
    timeoutMs: 30_000,
  });
  return ids;
}

const act = <T>(path: string, body: unknown = {}) => askDashboard<T>(dashboard.url, `/api/admin${path}`, { body });
const ask = async <T>(path: string) => (await askDashboard<T>(dashboard.url, `/api/admin${path}`)).data;

test('tasks that fail again at once are each queued again once, and counted once', async () => {
  const ids = await failed(COUNT);
  // A busy machine needs more than one request.
  const order = { filter: { error_code: 'UNREADABLE_MEDIA' }, failed_before: new Date().toISOString() };
  await sleep(5);
  const counts: number[] = [];
  let more = true;
  while (more) {
    const began = performance.now();
    const { data: outcome } = await act<BulkOutcome>('/tasks/retry', order);
    expect(performance.now() - began).toBeLessThan(2500);
    expect(outcome).toMatchObject({ applied: true, skipped: 0, unreadable: 0 });
    counts.push(outcome.count);
    more = outcome.more;
  }
  expect(counts.reduce((sum, count) => sum + count)).toBe(COUNT);
  await waitFor('all to fail again', async () => (await queues.face.getJobCounts('failed')).failed === COUNT);
  expect(ids.map((id) => runs.get(id))).toEqual(ids.map(() => 2));
  expect(logged.flatMap(({ taskIds = [] }) => taskIds).toSorted()).toEqual(ids.toSorted());
  const { entries } = await ask<AuditList>('/audit?limit=1');
  expect(entries[0]).toMatchObject({ action: 'retry tasks', detail: `${counts.at(-1)} tasks queued again.` });
});

test('what failed after a time is left out, however often one asks', async () => {
  await failed(3);
  const failed_before = new Date().toISOString();
  await sleep(5);
  const again = () => act<BulkOutcome>('/tasks/retry', { filter: {}, failed_before });
  expect((await again()).data).toMatchObject({ count: 3, more: false });
  await waitFor('all to fail again', async () => (await queues.face.getJobCounts('failed')).failed === 3);
  expect((await again()).data).toMatchObject({ applied: false, count: 0, skipped: 0, more: false });
  expect((await act('/tasks/retry', { filter: {}, failed_before: 'yesterday' })).code).toBe('INVALID_OPTION');
});

test('of those made up to a time the failed ones are found, whatever else there is', async () => {
  await failed(3);
  const to = new Date(Date.now() - HOUR_MS / 2).toISOString();
  // As of tasks that went well: older, and in no set of failed ones.
  const others = Array.from({ length: 30_000 }, (_, index) => [
    Date.now() - 2 * HOUR_MS + index,
    taskMember('face_detection', randomUUID()),
  ]);
  await client.zadd(KEYS.index(null), ...others.flat());
  const { data: outcome } = await act<BulkOutcome>('/tasks/retry', { filter: { to } });
  expect(outcome).toMatchObject({ count: 3, more: false });
  await client.del(KEYS.index(null));
});

test('those behind a thousand that cannot be queued again are reached', async () => {
  const sealed = openQueues(client, createKeyring([{ id: 'lost', secret: new Uint8Array(32).fill(1) }]));
  await failed(1001, 1, sealed);
  await failed(2, 1, queues, 1001);
  const { data: outcome } = await act<BulkOutcome>('/tasks/retry', { filter: {} });
  expect(outcome).toMatchObject({ count: 2, unreadable: 1001 });
  await Promise.all([sealed.face.close(), sealed.object.close()]);
});

test('a long selection is told by its number, and its first ids', async () => {
  const ids = await failed(25);
  expect((await act<BulkOutcome>('/tasks/retry', { task_ids: ids })).data.count).toBe(25);
  const { entries } = await ask<AuditList>('/audit?limit=1');
  expect(entries[0]?.target).toBe(`${ids.slice(0, 20).join(' ')} and 5 more`);
});

test.each(['the page', 'Bull Board'])(
  'a task queued again by %s waits anew; it was made when it was made',
  async (by) => {
    const [taskId = ''] = await failed(1);
    await queues.face.pause();
    const before = Date.now();
    const answer =
      by === 'the page'
        ? await act(`/tasks/${taskId}/retry`)
        : await askDashboard(dashboard.url, `/api/queues/face_detection/${taskId}/retry`, { method: 'PUT' });
    expect(answer.status).toBeLessThan(300);
    const { face_detection } = (await readScaling(client, queues)).queues;
    expect(face_detection.prioritized).toBe(1);
    expect(face_detection.oldest_waiting_s).toBeLessThan(60);
    const [row] = (await ask<TaskPage>(`/tasks?id=${taskId}`)).tasks;
    expect(Date.parse(row?.created_at ?? '')).toBeLessThan(before - HOUR_MS + 1);
    expect(Date.parse(row?.queued_at ?? '')).toBeGreaterThanOrEqual(before);
    await queues.face.resume();
    await waitFor('it to fail again', async () => (await queues.face.getJobCounts('failed')).failed === 1);
    const [ended] = (await ask<TaskPage>(`/tasks?id=${taskId}`)).tasks;
    expect(ended?.wait_s).toBeLessThan(60);
    const detail = await ask<TaskDetail>(`/tasks/${taskId}`);
    expect(detail.queued_at).toBe(row?.queued_at);
    expect(detail.timeline.map(({ what }) => what)).toEqual(['created', 'queued again', 'started', 'finished']);
    // Tasks that were never queued again, or are gone, are left alone by a retry that comes too late.
    await client.del(KEYS.job('face_detection', taskId));
    expect((await act(`/tasks/${taskId}/retry`)).status).toBe(404);
    expect(await client.exists(KEYS.job('face_detection', taskId))).toBe(0);
  },
);
