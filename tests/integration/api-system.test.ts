import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Health } from '../../src/contract/health.ts';
import { StartError } from '../../src/errors.ts';
import type { RunningWeb } from '../../src/web/run-web.ts';
import type { Running } from '../../src/worker/run-worker.ts';
import { call, ended, expectError, post, submit, taskIn } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture } from '../support/pictures.ts';
import { parseExposition, sampleValue } from '../support/prometheus.ts';
import { openRaw } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startAnotherWeb, startWeb, startWorker, type TestWeb } from '../support/web.ts';

describe.skipIf(!requireShared())('the system', () => {
  let web: TestWeb;
  let worker: Running | undefined;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: [], models: ['yunet', 'haar', 'yolox_nano'] });
  });
  afterAll(async () => {
    await worker?.stop();
    await web?.stop();
  });

  async function health(url = web.url): Promise<{ status: number; health: Health }> {
    const answer = await call(`${url}/api/health`);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    return { status: answer.status, health: Health.parse(answer.body.data) };
  }

  async function metrics(url = web.url) {
    const response = await fetch(`${url}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return parseExposition(await response.text());
  }

  async function scaling(): Promise<Record<string, Record<string, number>>> {
    const response = await fetch(`${web.url}/metrics/scaling`);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    return ((await response.json()) as { queues: Record<string, Record<string, number>> }).queues;
  }

  describe('health', () => {
    it('is degraded while no worker runs, and says so', async () => {
      const { status, health: found } = await health();
      expect(status).toBe(200);
      const nobody = {
        up: false,
        workers: 0,
        slots: 0,
        busy: 0,
        waiting: 0,
        oldest_waiting_s: 0,
        model: null,
        reason: expect.stringContaining('no worker'),
      };
      expect(found).toEqual({
        status: 'degraded',
        mode: 'async',
        storage: { up: true },
        services: {
          redis: { up: true, latency_ms: expect.any(Number) },
          face_detection: nobody,
          object_detection: nobody,
        },
      });
    });

    it('is ready and live all the same', async () => {
      for (const path of ['/api/health/live', '/api/health/ready']) {
        const answer = await call(`${web.url}${path}`);
        expect(answer.status).toBe(200);
        expect(answer.headers.get('cache-control')).toBe('no-store');
      }
    });

    it('is not ready where the storage cannot be written', async () => {
      const away = join(web.folders.root, 'away');
      await rename(web.folders.tmp, away);
      try {
        const answer = await call(`${web.url}/api/health/ready`);
        expect([answer.status, answer.body.success]).toEqual([503, false]);
        expect((await call(`${web.url}/api/health/live`)).status).toBe(200);
      } finally {
        await rename(away, web.folders.tmp);
      }
      expect((await call(`${web.url}/api/health/ready`)).status).toBe(200);
    });

    it('counts who waits and for how long', async () => {
      const ids = await Promise.all(
        ['priority=9', 'priority=0', ''].map((query) => submit(web.url, 'face/image', { file, query })),
      );
      await new Promise((resolve) => setTimeout(resolve, 1100));
      const { face_detection, object_detection } = (await health()).health.services;
      expect(face_detection.waiting).toBe(3);
      expect(face_detection.oldest_waiting_s).toBeGreaterThanOrEqual(1);
      expect(face_detection.oldest_waiting_s).toBeLessThan(10);
      expect(object_detection).toMatchObject({ waiting: 0, oldest_waiting_s: 0 });
      expect(await scaling()).toEqual({
        face_detection: {
          depth: 3,
          waiting: expect.any(Number),
          prioritized: expect.any(Number),
          active: 0,
          delayed_due: 0,
          oldest_waiting_s: expect.any(Number),
        },
        object_detection: { depth: 0, waiting: 0, prioritized: 0, active: 0, delayed_due: 0, oldest_waiting_s: 0 },
      });
      for (const id of ids) await call(`${web.url}/api/task/${id}`, { method: 'DELETE' });
      expect((await health()).health.services.face_detection.waiting).toBe(0);
    });

    it('counts workers, slots and who is busy', async () => {
      worker = await startWorker('face', web.folders, { ...web.env, WORKER_CONCURRENCY: '2' });
      const { status, services } = (await health()).health;
      expect(status).toBe('degraded');
      expect(services.face_detection).toEqual({
        up: true,
        workers: 1,
        slots: 2,
        busy: 0,
        waiting: 0,
        oldest_waiting_s: 0,
        model: 'yunet',
      });
      const lanes = lanePids();
      signalAll(lanes, 'SIGSTOP');
      try {
        const ids = await Promise.all([1, 2, 3].map(() => submit(web.url, 'face/image', { file })));
        await waitFor('both slots to be busy', async () => (await health()).health.services.face_detection.busy === 2);
        const { waiting } = (await health()).health.services.face_detection;
        expect(waiting).toBe(1);
        expect((await scaling()).face_detection).toMatchObject({ depth: 3, active: 2 });
        signalAll(lanes, 'SIGCONT');
        for (const id of ids) expect((await ended(web.url, id)).state).toBe('SUCCESS');
      } finally {
        signalAll(lanes, 'SIGCONT');
      }
    });

    it('is ok with a worker of each kind', async () => {
      const other = await startWorker('object', web.folders, web.env);
      try {
        const { status, health: found } = await health();
        expect([status, found.status]).toEqual([200, 'ok']);
        expect(found.services.object_detection).toMatchObject({ up: true, workers: 1, model: 'yolox_nano' });
      } finally {
        await other.stop();
      }
      expect((await health()).health.status).toBe('degraded');
    });

    it('names the kind that has no model, with the command that mends it', async () => {
      const models = join(web.folders.root, 'few-models');
      await mkdir(models);
      const other = await startAnotherWeb({ ...web.folders, models }, web.env);
      try {
        const { status, health: found } = await health(other.url);
        expect([status, found.status]).toEqual([200, 'degraded']);
        expect(found.services.object_detection).toMatchObject({
          up: false,
          reason: expect.stringMatching(/no model for object.*npm run models -- pull/),
        });
      } finally {
        await other.stop();
      }
    });
  });

  describe('models', () => {
    it('are those that are ready, with what one needs to know', async () => {
      const answer = await call(`${web.url}/api/models`);
      expect(answer.status).toBe(200);
      const models = answer.body.data.models as Record<string, unknown>[];
      expect(new Map(models.map((model) => [model.name, model]))).toEqual(
        new Map([
          ['haar', expect.objectContaining({ task: 'face', default: false, confidence: 0, labels: ['face'] })],
          [
            'yunet',
            expect.objectContaining({
              task: 'face',
              default: true,
              confidence: 0.6,
              nms: 0.3,
              labels: ['face'],
              licence: 'Apache-2.0',
              input_size: { width: 640, height: 640, free: true },
            }),
          ],
          [
            'yolox_nano',
            expect.objectContaining({
              task: 'object',
              default: true,
              licence: 'Apache-2.0',
              input_size: { width: 416, height: 416, free: false },
            }),
          ],
        ]),
      );
      const nano = models.find(({ name }) => name === 'yolox_nano')?.labels as string[];
      expect([nano.length, nano[0], nano[79]]).toEqual([80, 'person', 'toothbrush']);
    });

    it('come and go with their files', async () => {
      const path = join(web.folders.models, 'yolox_nano.onnx');
      const names = async () =>
        ((await call(`${web.url}/api/models`)).body.data.models as { name: string }[]).map(({ name }) => name);
      await rename(path, `${path}.away`);
      await waitFor('it to be gone', async () => !(await names()).includes('yolox_nano'));
      expectError(await post(web.url, 'object/image', { file }), 503, 'MODEL_UNAVAILABLE');
      await rename(`${path}.away`, path);
      await waitFor('it to be back', async () => (await names()).includes('yolox_nano'));
    });
  });

  describe('metrics', () => {
    it('are what a strict parser reads, also without any traffic', async () => {
      const fresh = await startAnotherWeb(web.folders, web.env);
      try {
        expect((await metrics(fresh.url)).size).toBeGreaterThan(20);
      } finally {
        await fresh.stop();
      }
    });

    it('count requests by route, never by path', async () => {
      const other: RunningWeb = await startAnotherWeb(web.folders, { ...web.env, API_KEYS: 'a:key' });
      try {
        const headers = { Authorization: 'Bearer key' };
        for (let i = 0; i < 5; i++) {
          for (const path of [
            `/api/nothing-${i}`,
            `/api/task/none-${i}`,
            `/api/uploads/none-${i}.jpg`,
            `/${i}`,
            `/docs/${i}`,
          ]) {
            await call(`${other.url}${path}`, { headers });
            await call(`${other.url}${path}`);
          }
          await call(`${other.url}/api/uploads/%zz${i}`);
          await call(`${other.url}/api/tasks`, { method: 'DELETE', headers });
        }
        const families = await metrics(other.url);
        const series = families.get('recognize_http_request_seconds')?.samples ?? [];
        const routes = new Set(series.map(({ labels }) => labels.route));
        expect(routes).toEqual(
          new Set(
            ['(none)', '/api/task/:id', '/api/uploads/:name', '/api/tasks', '/docs/:name', '/metrics'].filter((route) =>
              routes.has(route),
            ),
          ),
        );
        const count = (route: string, code: string, method = 'GET') =>
          sampleValue(families, 'recognize_http_request_seconds_count', { method, route, code });
        expect(count('/api/task/:id', '404')).toBe(5);
        expect(count('/api/uploads/:name', '404')).toBe(10);
        expect(count('/api/tasks', '405', 'DELETE')).toBe(5);
        expect(count('(none)', '404')).toBe(15);
        expect(count('(none)', '401')).toBe(10);
      } finally {
        await other.stop();
      }
    });

    it('count tasks, their waits and their times', async () => {
      const value = async (name: string, labels: Record<string, string> = { queue: 'face_detection' }) =>
        sampleValue(await metrics(), name, labels) ?? 0;
      const before = await value('recognize_tasks_succeeded_total');
      const bytes = await value('recognize_http_request_bytes_total', { route: '/api/detect/face/image' });
      for (let i = 0; i < 3; i++) await post(web.url, 'face/image', { file, query: 'wait=20' });
      await waitFor(
        'the worker to have told',
        async () => (await value('recognize_tasks_succeeded_total')) === before + 3,
      );
      const families = await metrics();
      const pictures = { queue: 'face_detection', media: 'image', model: 'yunet' };
      expect(sampleValue(families, 'recognize_task_run_seconds_count', pictures)).toBe(before + 3);
      expect(sampleValue(families, 'recognize_task_wait_seconds_count', pictures)).toBe(before + 3);
      expect(sampleValue(families, 'recognize_task_run_seconds_sum', pictures)).toBeGreaterThan(0);
      expect(sampleValue(families, 'recognize_workers_online', { queue: 'face_detection' })).toBe(1);
      expect(sampleValue(families, 'recognize_slots', { queue: 'face_detection' })).toBe(2);
      expect(sampleValue(families, 'recognize_queue_depth', { queue: 'face_detection' })).toBe(0);
      expect(sampleValue(families, 'recognize_redis_up')).toBe(1);
      expect(
        sampleValue(families, 'recognize_worker_resident_bytes', { queue: 'face_detection', worker: 'face_worker_1' }),
      ).toBeGreaterThan(50e6);
      expect(
        sampleValue(families, 'recognize_http_request_bytes_total', { route: '/api/detect/face/image' }),
      ).toBeGreaterThan(bytes + 3 * file.length);
    });
  });

  describe('every answer', () => {
    it("has an id, the caller's own where it is one", async () => {
      const id = async (given?: string) =>
        (
          await call(`${web.url}/api/health/live`, { headers: given === undefined ? {} : { 'X-Request-Id': given } })
        ).headers.get('x-request-id');
      expect(await id()).toMatch(/^[0-9a-f-]{36}$/);
      expect(await id()).not.toBe(await id());
      expect(await id('order-66.A_b')).toBe('order-66.A_b');
      for (const bad of ['a b', 'x'.repeat(129), '<script>', 'a;b']) expect(await id(bad)).toMatch(/^[0-9a-f-]{36}$/);
    });

    it('has headers that keep browsers from doing harm, and none that tell what runs here', async () => {
      const { headers } = await call(`${web.url}/api/models`);
      expect(Object.fromEntries(headers)).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN',
        'referrer-policy': 'no-referrer',
        'content-security-policy': expect.stringContaining("default-src 'self'"),
      });
      expect(headers.get('content-security-policy')).not.toContain('upgrade-insecure-requests');
      for (const name of ['x-powered-by', 'server', 'etag']) expect(headers.get(name)).toBeNull();
    });
  });

  describe('what is not there', () => {
    it.each([
      '/api',
      '/api/',
      '/api/nothing',
      '/api/detect/cat/image',
      '/api/detect/face',
      '/nothing',
      '/api/health/x',
      '/favicon.ico',
      '/%zz',
      '/..%2f..%2fetc%2fpasswd',
      '/.env',
      '/src/main.ts',
    ])('%s is NOT_FOUND', async (path) => {
      expectError(await call(`${web.url}${path}`), 404, 'NOT_FOUND');
    });

    it('says nothing of the path that was asked for', async () => {
      const { text } = await call(`${web.url}/api/%3Cscript%3Ealert(1)%3C/script%3E`);
      expect(text).not.toContain('script');
    });

    it('a path that cannot be decoded is BAD_REQUEST', async () => {
      expectError(await call(`${web.url}/api/task/%zz`), 400, 'BAD_REQUEST');
      expectError(await call(`${web.url}/api/task/%c3%28`), 400, 'BAD_REQUEST');
    });

    it.each([
      ['GET', '/api/detect/face/image', 'POST'],
      ['PUT', '/api/detect/object/image', 'POST'],
      ['POST', '/api/tasks', 'GET, HEAD'],
      ['PATCH', '/api/task/x', 'GET, HEAD, DELETE'],
      ['POST', '/api/task/x/events', 'GET, HEAD'],
      ['POST', '/api/models', 'GET, HEAD'],
      ['DELETE', '/api/health', 'GET, HEAD'],
      ['POST', '/api/health/live', 'GET, HEAD'],
      ['POST', '/api/openapi.json', 'GET, HEAD'],
      ['POST', '/docs', 'GET, HEAD'],
      ['POST', '/metrics', 'GET, HEAD'],
      ['DELETE', '/metrics/scaling', 'GET, HEAD'],
      ['POST', '/', 'GET, HEAD'],
    ])('%s %s is METHOD_NOT_ALLOWED', async (method, path, allow) => {
      const answer = await call(`${web.url}${path}`, { method });
      expectError(answer, 405, 'METHOD_NOT_ALLOWED');
      expect(answer.headers.get('allow')).toBe(allow);
    });

    it('OPTIONS tells what is possible', async () => {
      const response = await fetch(`${web.url}/api/task/x`, { method: 'OPTIONS' });
      expect([response.status, response.headers.get('allow')]).toEqual([204, 'GET, HEAD, DELETE']);
    });

    it.each([
      ['GARBAGE\r\n\r\n', 400],
      ['GET / HTTP/1.1\r\n\r\n', 400],
      [`GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
      [`GET / HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(5000)}\r\n`, 431],
    ])('requests that are none are refused: %#', async (text, status) => {
      const raw = openRaw(web.url);
      await raw.write(text);
      expect((await raw.answer()).status).toBe(status);
      await raw.closed;
      expect((await call(`${web.url}/api/health/live`)).status).toBe(200);
    });
  });

  describe('pages of other sites', () => {
    const origin = 'https://app.example';
    const preflight = (url: string, from: string) =>
      fetch(`${url}/api/detect/face/image`, {
        method: 'OPTIONS',
        headers: {
          Origin: from,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': 'x-api-key,idempotency-key,prefer',
        },
      });

    it('may not read answers unless CORS_ORIGINS names them', async () => {
      const { headers } = await call(`${web.url}/api/models`, { headers: { Origin: origin } });
      expect(headers.get('access-control-allow-origin')).toBeNull();
      expect((await preflight(web.url, origin)).headers.get('access-control-allow-origin')).toBeNull();
    });

    it('may where it does, without a key for the preflight', async () => {
      const other = await startAnotherWeb(web.folders, {
        ...web.env,
        CORS_ORIGINS: `${origin},https://b.example`,
        API_KEYS: 'a:key',
      });
      try {
        const asked = await preflight(other.url, origin);
        expect(asked.status).toBe(204);
        expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
        expect(asked.headers.get('access-control-allow-methods')).toContain('POST');
        expect(asked.headers.get('access-control-allow-headers')).toContain('x-api-key');
        const { headers } = await call(`${other.url}/api/models`, {
          headers: { Origin: 'https://b.example', 'X-API-Key': 'key' },
        });
        expect(headers.get('access-control-allow-origin')).toBe('https://b.example');
        expect(headers.get('vary')).toContain('Origin');
        expect(headers.get('access-control-expose-headers')).toMatch(/Location.*Retry-After/);
        const refused = await call(`${other.url}/api/models`, { headers: { Origin: origin } });
        expectError(refused, 401, 'UNAUTHORIZED');
        expect(refused.headers.get('access-control-allow-origin')).toBe(origin);
        const stranger = await call(`${other.url}/api/models`, {
          headers: { Origin: 'https://app.example.evil', 'X-API-Key': 'key' },
        });
        expect(stranger.headers.get('access-control-allow-origin')).toBeNull();
      } finally {
        await other.stop();
      }
    });
  });

  describe('the address', () => {
    it('may be one of IPv6', async () => {
      const other = await startAnotherWeb(web.folders, { ...web.env, HOST: '::1' });
      try {
        expect(other.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
        expect((await call(`${other.url}/api/tasks`)).status).toBe(200);
      } finally {
        await other.stop();
      }
    });

    it('that is taken stops the start with a sentence that names PORT', async () => {
      const PORT = new URL(web.url).port;
      await expect(startAnotherWeb(web.folders, { ...web.env, PORT })).rejects.toThrow(
        new StartError(`Port ${PORT} on 127.0.0.1 is taken. Set PORT to a free one.`),
      );
    });
  });

  it('the address of the service leads to its documentation', async () => {
    const response = await fetch(web.url);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    await response.text();
    const document = await fetch(`${web.url}/api/openapi.json`);
    expect(await document.json()).toMatchObject({ openapi: expect.stringMatching(/^3\.1\./) });
  });

  it('a time limit ends a task that hangs and frees its slot', async () => {
    const slow = await startWorker('object', web.folders, { ...web.env, TASK_TIME_LIMIT: '1' });
    try {
      await waitFor('the lane', () => lanePids().length === 3);
      signalAll(lanePids(), 'SIGSTOP');
      const id = await submit(web.url, 'object/image', { file });
      const task = await taskIn(web.url, id, ['FAILURE'], { timeoutMs: 8000 });
      expect(task).toMatchObject({ attempts: 1, error: { error_code: 'TIMEOUT' } });
      // On a busy machine a new process may need longer to load its model than a task may take here.
      await waitFor('the slot', async () => {
        const next = await submit(web.url, 'object/image', { file });
        return (await ended(web.url, next)).state === 'SUCCESS';
      });
    } finally {
      signalAll(lanePids(), 'SIGCONT');
      await slow.stop();
    }
    await rm(join(web.folders.root, 'few-models'), { recursive: true });
  });
});
