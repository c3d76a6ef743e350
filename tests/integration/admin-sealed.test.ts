import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TaskDetail, TaskPage } from '../../src/contract/admin.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { ended, submit } from '../support/api.ts';
import { askDashboard } from '../support/dashboard-client.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, type TestWeb, testConfig } from '../support/web.ts';

describe.skipIf(!requireShared())('with encryption at rest', () => {
  const dog = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')));
  const broken = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')).subarray(0, 60_000)).fill(0, 20_000);
  let web: TestWeb;
  let dashboard: RunningDashboard;

  beforeAll(async () => {
    const env = { RESULT_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}` };
    web = await startWeb({ models: ['yolox_nano'], workers: ['object'], env });
    const config = testConfig(web.folders, { ...web.env, DASHBOARD_PORT: '0' });
    dashboard = await runDashboard(config, pino({ level: 'silent' }));
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
  });
});
