import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Job } from 'bullmq';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import type {
  AuditList,
  BulkOutcome,
  LogTail,
  Overview,
  TaskDetail,
  TaskPage,
  WorkerView,
} from '../../src/contract/admin.ts';
import { ADMIN_ROUTES } from '../../src/contract/admin-routes.ts';
import { hashPassword } from '../../src/dashboard/password.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { openQueues, type Queues } from '../../src/queue/queues.ts';
import { type Running, runWorker } from '../../src/worker/run-worker.ts';
import { ended, getTask, submit, taskIn } from '../support/api.ts';
import { askDashboard, type Login } from '../support/dashboard-client.ts';
import { beatOnceBefore, heartbeatOf } from '../support/heartbeats.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb, testConfig } from '../support/web.ts';

const ada: Login = { name: 'ada', password: 'admin pass' };
const eve: Login = { name: 'eve', password: 'viewer pass' };
/** To nowhere: what operators do is logged at any level. */
const silent = pino({ level: 'silent' }, { write: () => undefined });

describe.skipIf(!requireShared())('the admin API', () => {
  const dog = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')));
  let web: TestWeb;
  let dashboard: RunningDashboard;
  let queues: Queues;
  const workers = new Set<Running>();
  let restarts = 0;

  beforeAll(async () => {
    web = await startWeb({ models: ['yunet', 'yolox_nano'], workers: [] });
    const hashes = await Promise.all([hashPassword(ada.password), hashPassword(eve.password)]);
    const config = loadConfig({
      REDIS_URL: web.redis.url,
      DATA_DIR: web.folders.root,
      LOG_DIR: web.folders.logs,
      DASHBOARD_PORT: '0',
      DASHBOARD_USERS: `ada:admin:${hashes[0]},eve:viewer:${hashes[1]}`,
    });
    dashboard = await runDashboard(config, silent);
    const client = web.redis.client();
    await waitFor('Redis', () => client.status === 'ready');
    queues = openQueues(client);
    await waitFor('the dashboard', async () => (await askDashboard(dashboard.url, '/api/health/ready')).status === 200);
  });

  afterEach(async () => {
    await Promise.all([...workers].map((worker) => worker.stop()));
    workers.clear();
  });

  afterAll(async () => {
    await queues?.object.close();
    await queues?.face.close();
    await dashboard?.stop();
    await web?.stop();
  });

  const ask = <T>(path: string, login: Login | undefined = ada) =>
    askDashboard<T>(dashboard.url, `/api/admin${path}`, { login });
  const act = <T = { applied: boolean; message: string }>(
    path: string,
    body: unknown = {},
    login: Login | undefined = ada,
  ) => askDashboard<T>(dashboard.url, `/api/admin${path}`, { login, body });

  async function data<T>(path: string): Promise<T> {
    const answer = await ask<T>(path);
    expect(answer.status, answer.text).toBe(200);
    return answer.data;
  }

  async function work(): Promise<Running> {
    const ready = Promise.withResolvers<void>();
    const worker = await runWorker(
      'object',
      testConfig(web.folders, web.env),
      silent,
      () => undefined,
      ready.resolve,
      () => {
        restarts++;
      },
    );
    workers.add(worker);
    await ready.promise;
    return worker;
  }

  const post = () => submit(web.url, 'object/image', { file: dog });
  const workerIs = (name: string, state: WorkerView['state']) =>
    waitFor(`${name} to be ${state}`, async () => {
      const { workers: all } = await data<{ workers: WorkerView[] }>('/workers');
      return all.find((worker) => worker.name === name && worker.state === state);
    });

  /** A task that ended as a broken picture does, without anybody having to break one. */
  async function failedTask(): Promise<string> {
    const taskId = await post();
    const client = web.redis.client();
    await waitFor('Redis', () => client.status === 'ready');
    const job = await queues.object.getJob(taskId);
    expect(job).toBeInstanceOf(Job);
    await client
      .multi()
      .zrem(`{recognize}:object_detection:prioritized`, taskId)
      .zadd('{recognize}:object_detection:failed', Date.now(), taskId)
      .hset(`{recognize}:object_detection:${taskId}`, {
        processedOn: Date.now(),
        finishedOn: Date.now(),
        failedReason: 'INTERNAL: The detection failed unexpectedly.',
        stack: 'Error: deep inside\n    at /srv/somewhere.ts:1',
        pb: 'object_worker_1',
        atm: 3,
        ats: 3,
      })
      .exec();
    client.disconnect();
    return taskId;
  }

  test('every route needs a login, and those that change something an admin', async () => {
    for (const { method, path, access } of ADMIN_ROUTES) {
      const concrete = path
        .replace('{name}', 'object_worker_1')
        .replace('{queue}', 'object_detection')
        .replace('{id}', 'x')
        .replace('{role}', 'original');
      const call = { method: method.toUpperCase(), ...(method === 'post' ? { body: {} } : {}) };
      const anybody = await askDashboard(dashboard.url, concrete, call);
      expect({ concrete, status: anybody.status }).toEqual({ concrete, status: 401 });
      const viewer = await askDashboard(dashboard.url, concrete, { ...call, login: eve });
      if (access === 'admin') expect({ concrete, code: viewer.code }).toEqual({ concrete, code: 'FORBIDDEN' });
      else expect(viewer.status, concrete).not.toBe(403);
      expect(method === 'post').toBe(access === 'admin');
    }
    expect((await ask<{ name: string; role: string }>('/me', eve)).data).toMatchObject({ name: 'eve', role: 'viewer' });
  });

  test('an action that another site makes a browser send is refused', async () => {
    const path = '/api/admin/queues/object_detection/pause';
    for (const origin of [null, 'https://evil.example']) {
      const refused = await askDashboard(dashboard.url, path, { login: ada, body: {}, origin });
      expect(refused.status).toBe(403);
    }
    expect(await queues.object.isPaused()).toBe(false);
  });

  test('wrong addresses, methods and bodies are told apart', async () => {
    expect((await ask('/nothing')).code).toBe('NOT_FOUND');
    expect((await act('/overview')).code).toBe('METHOD_NOT_ALLOWED');
    expect((await ask('/workers/object_worker_99')).code).toBe('NOT_FOUND');
    expect((await ask('/workers/..%2F..%2Fetc%2Fpasswd/log')).code).toBe('NOT_FOUND');
    expect((await act('/queues/other/pause')).code).toBe('NOT_FOUND');
    expect((await act('/workers/object_worker_99/drain')).code).toBe('NOT_FOUND');
    for (const id of ['x', 'meta', '00000000-0000-4000-8000-000000000000', 'object_detection', '%2e%2e']) {
      expect((await ask(`/tasks/${id}`)).status, id).toBe(404);
      expect((await act(`/tasks/${id}/cancel`)).status, id).toBe(404);
      expect((await act(`/tasks/${id}/retry`)).status, id).toBe(404);
    }
    for (const [path, body] of [
      ['/tasks/retry', {}],
      ['/tasks/retry', { task_ids: [] }],
      ['/tasks/retry', { task_ids: ['x'] }],
      ['/tasks/retry', { filter: { state: 'SUCCESS' } }],
      ['/tasks/retry', { filter: {}, task_ids: [] }],
      ['/queues/object_detection/clean', { state: 'waiting', older_than_s: 1 }],
      ['/queues/object_detection/clean', { state: 'failed', older_than_s: '1' }],
      ['/workers/object_worker_1/concurrency', { concurrency: 0 }],
      ['/workers/object_worker_1/concurrency', { concurrency: 1.5 }],
      ['/tasks/x/priority', { priority: 10 }],
      ['/tasks/x/priority', []],
    ] as const) {
      const refused = await act(path, body);
      expect({ path, code: refused.code, status: refused.status }).toEqual({
        path,
        code: 'INVALID_OPTION',
        status: 400,
      });
    }
    const twisted = { filter: { from: '2026-02-01T00:00:00Z', to: '2026-01-01T00:00:00Z' } };
    expect((await act('/tasks/retry', twisted)).message).toBe('Option filter.from must not be later than to.');
    expect((await act('/tasks/retry', { task_ids: ['x'] })).message).toBe('Option task_ids.0 must be ids of tasks.');
    expect((await act('/tasks/retry', {})).message).toContain('either task_ids');
    const broken = await fetch(`${dashboard.url}/api/admin/tasks/retry`, {
      method: 'POST',
      body: '{"task_ids": [',
      headers: {
        Authorization: `Basic ${btoa(`${ada.name}:${ada.password}`)}`,
        Origin: dashboard.url,
        'Content-Type': 'application/json',
      },
    });
    expect(broken.status).toBe(400);
    expect(await broken.json()).toMatchObject({ success: false, error_code: 'BAD_REQUEST' });
  });

  test('the description is valid OpenAPI and names every route', async () => {
    const { text } = await ask('/openapi.json');
    const document = JSON.parse(text) as { paths: Record<string, object> };
    expect(await new Validator().validate(document as never)).toEqual({ valid: true });
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(described.sort()).toEqual(ADMIN_ROUTES.map(({ method, path }) => `${method} ${path}`).sort());
  });

  test('a worker is drained, resumed, given more slots and told to restart', async () => {
    const { name } = await work();
    const idle = await workerIs(name, 'idle');
    expect(idle).toMatchObject({
      kind: 'object',
      queue: 'object_detection',
      pid: process.pid,
      concurrency: 1,
      reason: null,
    });
    expect(idle.models).toEqual([{ name: 'yolox_nano', provider: 'cpu' }]);
    expect(idle.rss_bytes).toBeGreaterThan(50e6);

    expect((await act(`/workers/${name}/drain`)).data).toMatchObject({ applied: true });
    expect(await workerIs(name, 'draining')).toMatchObject({ reason: 'drained by ada' });
    const waiting = await post();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await getTask(web.url, waiting)).state).toBe('PENDING');
    expect((await act(`/workers/${name}/drain`)).data).toEqual({
      applied: false,
      message: 'The worker is drained already.',
    });
    expect((await act(`/workers/${name}/resume`)).data).toMatchObject({ applied: true });
    expect((await ended(web.url, waiting)).state).toBe('SUCCESS');
    expect((await act(`/workers/${name}/resume`)).data).toMatchObject({ applied: false });
    expect((await act(`/workers/${name}/concurrency`, { concurrency: 1 })).data).toMatchObject({ applied: false });

    expect((await act(`/workers/${name}/concurrency`, { concurrency: 2 })).data).toMatchObject({ applied: true });
    const grown = await waitFor(
      'two detection processes',
      async () => {
        const { worker } = await data<{ worker: WorkerView }>(`/workers/${name}`);
        return worker.concurrency === 2 && worker.lanes.length === 2 ? worker : undefined;
      },
      { timeoutMs: 20_000 },
    );
    expect(grown.state).toBe('idle');
    const both = await Promise.all([post(), post(), post()]);
    for (const taskId of both) expect((await ended(web.url, taskId)).state).toBe('SUCCESS');
    expect((await act(`/workers/${name}/concurrency`, { concurrency: 1 })).data).toMatchObject({ applied: true });
    expect((await ended(web.url, await post())).state).toBe('SUCCESS');
    const huge = await act(`/workers/${name}/concurrency`, { concurrency: 256 });
    expect(huge.data.applied, huge.data.message).toBe(false);
    expect(huge.data.message).toContain('memory');

    restarts = 0;
    expect((await act(`/workers/${name}/restart`)).data).toMatchObject({ applied: true });
    await waitFor('the restart', () => restarts === 1);

    const overview = await waitFor('the tasks in the history', async () => {
      const view = await data<Overview>('/overview?window=5m');
      return (view.queues[1]?.totals.succeeded ?? 0) >= 5 ? view : undefined;
    });
    expect(overview.success_rate).toBe(1);
    expect(overview.queues[1]?.totals.run.p50).toBeGreaterThan(0);
    const { recent } = await data<{ recent: { worker: string; state: string }[] }>(`/workers/${name}`);
    expect(recent.length).toBeGreaterThanOrEqual(5);
    expect(recent.every((task) => task.worker === name && task.state === 'SUCCESS')).toBe(true);
  });

  test('a lost worker is shown as such, and orders to it say so', async () => {
    const client = web.redis.client();
    await waitFor('Redis', () => client.status === 'ready');
    const heartbeat = heartbeatOf({
      name: 'face_worker_7',
      started_at: Date.now() - 60_000,
    });
    await beatOnceBefore(client, heartbeat, 30_000);
    await workerIs('face_worker_7', 'lost');
    expect((await data<Overview>('/overview')).workers).toMatchObject({ lost: 1, online: 0 });
    const answer = await act('/workers/face_worker_7/drain');
    expect(answer.data).toMatchObject({ applied: false, message: expect.stringContaining('lost') });
    await beatOnceBefore(client, heartbeat, 0);
    const silentOne = await act('/workers/face_worker_7/drain');
    expect(silentOne.data).toMatchObject({
      applied: false,
      message: expect.stringContaining('not answered within two seconds'),
    });
    await act('/workers/face_worker_7/concurrency', { concurrency: 4 });
    const [asked] = (await data<AuditList>('/audit?limit=1')).entries;
    expect(asked).toMatchObject({ action: 'change concurrency to 4', target: 'face_worker_7', result: 'unknown' });
    await beatOnceBefore(client, heartbeat, 3_700_000);
    const { workers: all } = await data<{ workers: WorkerView[] }>('/workers');
    expect(all.map(({ name }) => name)).not.toContain('face_worker_7');
  });

  test('a paused queue lets tasks wait; they are cancelled and change their priority there', async () => {
    await work();
    expect((await act('/queues/object_detection/pause')).data.applied).toBe(true);
    expect((await act('/queues/object_detection/pause')).data).toEqual({
      applied: false,
      message: 'The queue is paused already.',
    });
    const [first, second] = [await post(), await post()];
    const view = await data<Overview>('/overview');
    expect(view.queues.map(({ paused }) => paused)).toEqual([false, true]);
    expect(view.queues[1]?.prioritized).toBe(2);
    expect((await act(`/tasks/${second}/priority`, { priority: 9 })).data.applied).toBe(true);
    expect(await data<TaskDetail>(`/tasks/${second}`)).toMatchObject({ priority: 9, task: { position: 1 } });
    expect((await act(`/tasks/${second}/priority`, { priority: 9 })).data).toMatchObject({ applied: false });
    expect((await act(`/tasks/${first}/cancel`)).data.applied).toBe(true);
    expect((await act(`/tasks/${first}/cancel`)).data).toMatchObject({ applied: false });
    expect((await getTask(web.url, first)).state).toBe('REVOKED');
    expect((await act(`/tasks/${first}/retry`)).code).toBe('TASK_FINISHED');
    expect((await act(`/tasks/${second}/retry`)).data.applied).toBe(false);
    expect((await act('/queues/object_detection/resume')).data.applied).toBe(true);
    expect((await act('/queues/object_detection/resume')).data).toMatchObject({ applied: false });
    expect((await ended(web.url, second)).state).toBe('SUCCESS');
    for (const [path, body] of [
      ['cancel', {}],
      ['retry', {}],
      ['priority', { priority: 1 }],
    ] as const) {
      const late = await act(`/tasks/${second}/${path}`, body);
      expect({ path, status: late.status, code: late.code }).toEqual({ path, status: 409, code: 'TASK_FINISHED' });
      expect(late.message).toMatch(/already ended/);
    }
    const { tasks } = await data<TaskPage>('/tasks?state=REVOKED');
    expect(tasks.map(({ task_id }) => task_id)).toContain(first);
  });

  test('limits over all workers, as Bull Board sets them, are shown and lifted', async () => {
    const { name } = await work();
    expect((await act(`/workers/${name}/concurrency`, { concurrency: 2 })).data.applied).toBe(true);
    const board = (place: string, body: object) =>
      askDashboard(dashboard.url, `/api/queues/object_detection/${place}`, { method: 'PUT', body, login: ada });
    expect((await board('concurrency', { concurrency: 1 })).status).toBe(200);
    expect((await board('rate-limit', { max: 1, duration: 600_000 })).status).toBe(200);
    const queueView = async () => (await data<Overview>('/overview')).queues[1];
    await waitFor('the second slot', async () => (await queueView())?.slots === 2, { timeoutMs: 20_000 });
    expect(await queueView()).toMatchObject({
      global_concurrency: 1,
      global_rate_limit: { max: 1, duration_ms: 600_000 },
    });
    const posted = [await post(), await post(), await post()];
    await waitFor('one of them', async () => (await data<TaskPage>('/tasks?state=PENDING')).tasks.length === 2, {
      timeoutMs: 20_000,
    });
    const lifted = await act('/queues/object_detection/lift-limits');
    expect(lifted.data).toMatchObject({ applied: true, message: expect.stringContaining('global concurrency of 1') });
    for (const taskId of posted) expect((await ended(web.url, taskId)).state).toBe('SUCCESS');
    expect(await queueView()).toMatchObject({ global_concurrency: null, global_rate_limit: null });
    expect((await act('/queues/object_detection/lift-limits')).data).toMatchObject({ applied: false });
    expect((await act('/queues/object_detection/lift-limits', {}, eve)).code).toBe('FORBIDDEN');
  });

  test('a failed task shows why, to admins from where, and is retried once by two admins at once', async () => {
    const taskId = await failedTask();
    const seen = await data<TaskDetail>(`/tasks/${taskId}`);
    expect(seen.task).toMatchObject({ state: 'FAILURE', error: { error_code: 'INTERNAL' } });
    expect(seen.stack).toContain('/srv/somewhere.ts');
    const viewed = await ask<TaskDetail>(`/tasks/${taskId}`, eve);
    expect(viewed.data.stack).toBeNull();
    expect(viewed.text).not.toContain('/srv');
    const both = await Promise.all([act(`/tasks/${taskId}/retry`), act(`/tasks/${taskId}/retry`)]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(both.filter(({ data: outcome }) => outcome.applied)).toHaveLength(1);
    await work();
    const good = await ended(web.url, taskId);
    expect(good.state).toBe('SUCCESS');
    const detail = await data<TaskDetail>(`/tasks/${taskId}`);
    expect(detail.timeline.map(({ what }) => what)).toEqual(['created', 'queued again', 'started', 'finished']);
    expect(detail.timeline.map(({ at }) => at)).toEqual([
      good.created_at,
      detail.queued_at,
      good.started_at,
      good.finished_at,
    ]);
    expect(detail.board_url).toBe(`/queue/object_detection/${taskId}`);
  });

  test('a selection of failed tasks is retried, and old ones are cleaned away', async () => {
    const [a, b, c] = [await failedTask(), await failedTask(), await failedTask()];
    const some = await act<BulkOutcome>('/tasks/retry', { task_ids: [a, '00000000-0000-4000-8000-000000000000'] });
    expect(some.data).toMatchObject({ applied: true, count: 1, skipped: 1, more: false });
    const none = await act<BulkOutcome>('/tasks/retry', { filter: { error_code: 'TIMEOUT' } });
    expect(none.data).toMatchObject({ applied: false, count: 0 });
    const rest = await act<BulkOutcome>('/tasks/retry', {
      filter: { error_code: 'INTERNAL', queue: 'object_detection' },
    });
    expect(rest.data).toMatchObject({ count: 2, skipped: 0, more: false });
    await work();
    for (const taskId of [a, b, c]) expect((await ended(web.url, taskId)).state).toBe('SUCCESS');
    const young = await act<BulkOutcome>('/queues/object_detection/clean', { state: 'completed', older_than_s: 3600 });
    expect(young.data).toMatchObject({ applied: false, count: 0 });
    const cleaned = await act<BulkOutcome>('/queues/object_detection/clean', { state: 'completed', older_than_s: 0 });
    expect(cleaned.data.count).toBeGreaterThanOrEqual(3);
    expect((await ask(`/tasks/${a}`)).status).toBe(404);
    expect((await data<TaskPage>('/tasks?state=SUCCESS')).tasks).toEqual([]);
  });

  test('files of a task are sent whole and in parts, by role and never by name', async () => {
    await work();
    const taskId = await post();
    await taskIn(web.url, taskId, ['SUCCESS']);
    const path = `/api/admin/tasks/${taskId}/files`;
    const whole = await fetch(`${dashboard.url}${path}/original`, {
      headers: { authorization: `Basic ${btoa(`${ada.name}:${ada.password}`)}` },
    });
    expect(whole.headers.get('content-type')).toBe('image/jpeg');
    expect(whole.headers.get('content-security-policy')).toBe('sandbox');
    expect(new Uint8Array(await whole.arrayBuffer())).toEqual(dog);
    const part = await fetch(`${dashboard.url}${path}/original`, {
      headers: { authorization: `Basic ${btoa(`${ada.name}:${ada.password}`)}`, range: 'bytes=10-19' },
    });
    expect(part.status).toBe(206);
    expect(part.headers.get('content-range')).toBe(`bytes 10-19/${dog.length}`);
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(dog.slice(10, 20));
    for (const role of ['detections', 'other', '..%2F..%2Fetc', `${'0'.repeat(32)}.jpg`]) {
      expect((await ask(`/tasks/${taskId}/files/${role}`)).status, role).toBe(404);
    }
  });

  test('the log of a worker is read from its end; viewers see no more than its sentences', async () => {
    const { name } = await work();
    const line = (msg: string) =>
      JSON.stringify({
        level: 'info',
        time: '2026-01-01T00:00:00.000Z',
        name: 'worker:object',
        pid: 1,
        taskId: 'abc',
        err: { stack: '/srv/x.ts' },
        msg,
      });
    const long = Array.from({ length: 5000 }, (_, index) => line(`line ${index} ${'x'.repeat(60)}`));
    writeFileSync(join(web.folders.logs, `${name}.log`), `${long.join('\n')}\nnot json <b>\n`);
    const tail = await data<LogTail>(`/workers/${name}/log?lines=3`);
    expect(tail.lines.map(({ message }) => message.slice(0, 9))).toEqual(['line 4998', 'line 4999', 'not json ']);
    expect(tail.lines[0]).toMatchObject({ level: 'info', task_id: 'abc', more: '{"err":{"stack":"/srv/x.ts"}}' });
    const viewed = await ask<LogTail>(`/workers/${name}/log?lines=3`, eve);
    expect(viewed.text).not.toContain('/srv');
    expect(viewed.data.lines[0]).toMatchObject({ message: expect.stringContaining('line 4998'), more: null });
  });

  test('what was done stands in the audit log, with who and how it went', async () => {
    await act('/queues/face_detection/pause');
    await act('/queues/face_detection/resume');
    await act('/tasks/00000000-0000-4000-8000-000000000000/cancel');
    await askDashboard(dashboard.url, '/api/queues/face_detection/pause', { method: 'PUT', login: ada });
    await askDashboard(dashboard.url, '/api/queues/face_detection/concurrency', {
      method: 'PUT',
      login: ada,
      body: { concurrency: 3, secret: 'x' },
    });
    await askDashboard(dashboard.url, '/api/queues/face_detection/resume', { method: 'PUT', login: ada });
    const entries = await waitFor('the entries', async () => {
      const list = await data<AuditList>('/audit?limit=6');
      return list.entries[0]?.target.endsWith('/resume') ? list.entries : undefined;
    });
    expect(entries[1]?.detail).toBe('answered 200, concurrency 3');
    expect(entries.map(({ who, action, target, result }) => [who, action, target, result])).toEqual([
      ['ada', 'Bull Board', 'PUT /api/queues/face_detection/resume', 'done'],
      ['ada', 'Bull Board', 'PUT /api/queues/face_detection/concurrency', 'done'],
      ['ada', 'Bull Board', 'PUT /api/queues/face_detection/pause', 'done'],
      ['ada', 'cancel task', '00000000-0000-4000-8000-000000000000', 'failed'],
      ['ada', 'resume queue', 'face_detection', 'done'],
      ['ada', 'pause queue', 'face_detection', 'done'],
    ]);
    const next = await data<AuditList>(`/audit?limit=1&before=${entries[4]?.id}`);
    expect(next.entries[0]?.id).toBe(entries[5]?.id);
    await act('/queues/face_detection/lift-limits');
  });

  test('without Redis it says so within two seconds, and answers again afterwards', async () => {
    process.kill(web.redis.pid(), 'SIGSTOP');
    try {
      for (const path of ['/overview', '/workers', '/tasks', '/audit']) {
        const began = performance.now();
        const refused = await ask(path);
        expect({ path, code: refused.code }).toEqual({ path, code: 'QUEUE_UNAVAILABLE' });
        expect(performance.now() - began).toBeLessThan(4000);
      }
      const began = performance.now();
      const held = await Promise.all([act('/queues/face_detection/pause'), act('/workers/face_worker_1/drain')]);
      expect(held.map(({ status }) => status)).toEqual([503, 503]);
      // One silence of Redis, not one for the action and another for its entry in the log.
      expect(performance.now() - began).toBeLessThan(2800);
    } finally {
      process.kill(web.redis.pid(), 'SIGCONT');
    }
    await waitFor('the answer', async () => (await ask('/overview')).status === 200);
    const entries = await waitFor('the entry', async () => {
      const list = await data<AuditList>('/audit?limit=3');
      return list.entries.find(({ action }) => action === 'pause queue');
    });
    expect(entries.result).toBe('unknown');
  });

  test('a worker of another kind keeps out of it', async () => {
    const other = await startWorker('face', web.folders, web.env);
    workers.add(other);
    const mine = await work();
    expect((await act(`/workers/${mine.name}/drain`)).data.applied).toBe(true);
    expect(await workerIs(other.name, 'idle')).toMatchObject({ kind: 'face' });
  });
});
