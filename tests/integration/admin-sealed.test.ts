import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActionOutcome, BulkOutcome, TaskDetail, TaskPage } from '../../src/contract/admin.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { ended, submit } from '../support/api.ts';
import { askDashboard } from '../support/dashboard-client.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, type TestWeb, testConfig } from '../support/web.ts';

/** To nowhere: what operators do is logged at any level. */
const silent = pino({ level: 'silent' }, { write: () => undefined });

describe.skipIf(!requireShared())('with encryption at rest', () => {
  const dog = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')));
  const broken = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')).subarray(0, 60_000)).fill(0, 20_000);
  let web: TestWeb;
  let dashboard: RunningDashboard;

  beforeAll(async () => {
    const env = { RESULT_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}` };
    web = await startWeb({ models: ['yolox_nano'], workers: ['object'], env });
    const config = testConfig(web.folders, { ...web.env, DASHBOARD_PORT: '0' });
    dashboard = await runDashboard(config, silent);
    await waitFor('the dashboard', async () => (await askDashboard(dashboard.url, '/api/health/ready')).status === 200);
  });

  afterAll(async () => {
    await dashboard?.stop();
    await web?.stop();
  });

  const find = async (query: string) =>
    (await askDashboard<TaskPage>(dashboard.url, `/api/admin/tasks?${query}`)).data.tasks.map(({ task_id }) => task_id);

  test('operators find tasks by what was found, and see them whole', async () => {
    const taskId = await submit(web.url, 'object/image', { file: dog });
    expect((await ended(web.url, taskId)).state).toBe('SUCCESS');
    expect(await find('label=dog')).toEqual([taskId]);
    expect(await find('label=zebra')).toEqual([]);
    const detail = await askDashboard<TaskDetail>(dashboard.url, `/api/admin/tasks/${taskId}`);
    expect(detail.data.task.result).toMatchObject({ image: { width: 768, height: 576 } });
    expect(detail.data.file).toEqual({ mime: 'image/jpeg', bytes: dog.length, width: 768, height: 576 });
    const file = await fetch(dashboard.url + detail.data.original_url, { headers: { range: 'bytes=65000-66000' } });
    expect(new Uint8Array(await file.arrayBuffer())).toEqual(dog.slice(65_000, 66_001));
  });

  test('a failure keeps its code for the search and its sentence for the page', async () => {
    const taskId = await submit(web.url, 'object/image', { file: broken });
    expect((await ended(web.url, taskId)).state).toBe('FAILURE');
    expect(await find('error_code=UNREADABLE_MEDIA')).toEqual([taskId]);
    const detail = await askDashboard<TaskDetail>(dashboard.url, `/api/admin/tasks/${taskId}`);
    expect(detail.data.task.error?.message).toMatch(/^[A-Z].*\.$/);
    expect(detail.data.timeline.map(({ what }) => what)).toEqual(['created', 'started', 'attempt ended', 'finished']);
    expect(detail.data.timeline[2]?.detail).toBe('UNREADABLE_MEDIA');
    expect(detail.data.timeline[1]?.at).toBe(detail.data.task.started_at);
  });

  describe('and a dashboard without the key', () => {
    let blind: RunningDashboard;
    let [good, bad] = ['', ''];

    beforeAll(async () => {
      good = await submit(web.url, 'object/image', { file: dog });
      bad = await submit(web.url, 'object/image', { file: broken });
      await Promise.all([ended(web.url, good), ended(web.url, bad)]);
      const env = {
        ...web.env,
        RESULT_ENCRYPTION_KEY: `k2:${randomBytes(32).toString('base64')}`,
        DASHBOARD_PORT: '0',
      };
      blind = await runDashboard(testConfig(web.folders, env), silent);
      await waitFor('the other', async () => (await askDashboard(blind.url, '/api/health/ready')).status === 200);
    });

    afterAll(() => blind?.stop());

    const search = async (query: string) =>
      (await askDashboard<TaskPage>(blind.url, `/api/admin/tasks?limit=100&${query}`)).data;
    const retry = <T>(path: string, body: unknown) => askDashboard<T>(blind.url, `/api/admin/tasks/${path}`, { body });

    test('list, filter and page say the same of a task, and invent nothing', async () => {
      const stateOf = async (query: string, id: string) =>
        (await search(query)).tasks.find(({ task_id }) => task_id === id)?.state;
      for (const [id, state, other] of [
        [good, 'SUCCESS', 'FAILURE'],
        [bad, 'FAILURE', 'SUCCESS'],
      ] as const) {
        expect(await stateOf('', id)).toBe(state);
        expect(await stateOf(`state=${state}`, id)).toBe(state);
        expect(await stateOf(`state=${other}`, id)).toBeUndefined();
        const { data, text } = await askDashboard<TaskDetail>(blind.url, `/api/admin/tasks/${id}`);
        expect(data.task).toMatchObject({ state, options: null, unreadable: { error_code: 'INTERNAL' } });
        expect(data.task.result).toBeUndefined();
        expect(data.task.error?.error_code).toBe(state === 'FAILURE' ? 'UNREADABLE_MEDIA' : undefined);
        expect(text).not.toContain('unknown');
      }
    });

    test('a search for a label says how many it could not read', async () => {
      const { tasks, searched, unreadable } = await search('label=dog');
      expect(tasks).toEqual([]);
      expect(unreadable).toBe(searched);
      expect(unreadable).toBeGreaterThan(0);
      expect((await search('state=SUCCESS')).unreadable).toBe(0);
    });

    test('a task that cannot be read is not queued again', async () => {
      const one = await retry<ActionOutcome>(`${bad}/retry`, {});
      expect(one.data).toMatchObject({ applied: false, message: expect.stringContaining('encrypted with a key') });
      expect((await retry(`${good}/retry`, {})).code).toBe('TASK_FINISHED');
      const all = await retry<BulkOutcome>('retry', { filter: {} });
      expect(all.data).toMatchObject({ applied: false, count: 0, more: false });
      expect(all.data.unreadable).toBe(all.data.skipped);
      expect(all.data.message).toContain('cannot be read with the keys of this dashboard');
    });
  });
});
