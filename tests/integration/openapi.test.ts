import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import express from 'express';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openApiDocument } from '../../src/contract/openapi.ts';
import { PAGES, ROUTES } from '../../src/contract/routes.ts';
import type { RunningWeb } from '../../src/web/run-web.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';
import { startAnotherWeb, startWeb, type TestWeb } from '../support/web.ts';

type Json = { [key: string]: unknown };
type Described = { content?: Record<string, unknown> };
type Method = 'get' | 'post' | 'delete';

const document = JSON.parse(JSON.stringify(openApiDocument())) as {
  paths: Record<string, Record<string, { responses: Record<string, Described> }>>;
};

/** The same with closed objects: an answer with a field that is not described does not match. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== 'object' || node === null) return node;
  const copy: Json = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]));
  const { allOf } = node as { allOf?: unknown[] };
  // Parts of a whole cannot be closed each for itself.
  if (allOf !== undefined) copy.allOf = allOf;
  if (copy.type === 'object' && copy.properties !== undefined && copy.additionalProperties === undefined) {
    copy.additionalProperties = false;
  }
  return copy;
}

function createAjv(description: unknown): Ajv2020 {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  return ajv.addSchema({ $id: 'document', ...(description as object) });
}

const STRICT = createAjv(closed(document));
const OPEN = createAjv(document);

const escaped = (part: string) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));

function validator(ajv: Ajv2020, ...path: string[]): ValidateFunction {
  const found = ajv.getSchema(`document#/${path.map(escaped).join('/')}`);
  if (found === undefined) throw new Error(`Nothing is described at ${path.join(' ')}.`);
  return found;
}

/** Checks status, media type and content of an answer against the description of its route; answers the content. */
async function check(method: Method, path: string, response: Response, ajv = STRICT): Promise<Json> {
  const described = document.paths[path]?.[method]?.responses;
  const status = String(response.status);
  const type = (response.headers.get('content-type') ?? '').split(';')[0] ?? '';
  const text = await response.text();
  expect(Object.keys(described ?? {}), text.slice(0, 500)).toContain(status);
  const types = Object.keys(described?.[status]?.content ?? {});
  expect(types.map((known) => known.replace('image/*', type.startsWith('image/') ? type : ''))).toContain(type);
  if (type !== 'application/json') return {};
  const validate = validator(ajv, 'paths', path, method, 'responses', status, 'content', type, 'schema');
  const body = JSON.parse(text) as Json;
  validate(body);
  expect(validate.errors ?? []).toEqual([]);
  return body;
}

type Asked = RequestInit & { at: string };

const photo = () => new Blob([readFileSync(sharedPath('data/bad/image/good.jpg'))]);

function upload(file: Blob | undefined, fields: Record<string, string> = {}, headers: Record<string, string> = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  if (file !== undefined) form.append('file', file, 'photo.jpg');
  return { method: 'POST', body: form, headers };
}

const FACE = '/api/detect/face/image';
const OBJECT = '/api/detect/object/image';

describe.skipIf(!requireShared())('the running web', () => {
  const route = vi.spyOn(express.Router.prototype, 'route');
  const use = vi.spyOn(express.Router.prototype, 'use');
  let web: TestWeb;
  /** A Redis with a queue that no worker looks at. */
  let idle: TestRedis;
  let registered: string[];
  const others: RunningWeb[] = [];

  /** Sends a request and checks the answer; `path` names the described route, `at` the real address. */
  async function ask(path: string, { at, ...init }: Asked = { at: path }, ajv = STRICT) {
    const method = (init.method ?? 'GET').toLowerCase() as Method;
    const response = await fetch(at.startsWith('http') ? at : web.url + at, { redirect: 'manual', ...init });
    const { status, headers } = response;
    const body = await check(method, path, response, ajv);
    return { status, headers, body, data: (body.data ?? {}) as Json, code: body.error_code };
  }

  async function another(env: Record<string, string>): Promise<string> {
    const started = await startAnotherWeb(web.folders, { ...web.env, ...env });
    others.push(started);
    return started.url;
  }

  /** `method path` of every route that was registered, with mount paths and parameters in braces. */
  function registeredRoutes(): string[] {
    const mounts = new Map(use.mock.calls.map(([path, router]) => [router as unknown, String(path)]));
    return route.mock.calls.flatMap(([path], index) => {
      const full = `${mounts.get(route.mock.contexts[index]) ?? ''}${path}`.replace(/:(\w+)/g, '{$1}');
      const result = route.mock.results[index]?.value as { methods: Record<string, boolean> };
      const methods = Object.keys(result.methods).filter((method) => ['get', 'post', 'delete'].includes(method));
      return methods.map((method) => `${method} ${full}`);
    });
  }

  beforeAll(async () => {
    [web, idle] = await Promise.all([startWeb({ env: { MAX_CONTENT_LENGTH: '2000000' } }), startRedis()]);
    registered = registeredRoutes();
    vi.restoreAllMocks();
  });

  afterAll(async () => {
    await Promise.all(others.map((other) => other.stop()));
    await web?.stop();
    await idle?.stop();
  });

  test('has exactly the routes that are described, besides pages', () => {
    const pages = PAGES.map((path) => `get ${path}`);
    const programs = registered.filter((entry) => !pages.includes(entry) && !entry.startsWith('get /docs/'));
    expect(registered).toEqual(expect.arrayContaining(pages));
    expect(programs.sort()).toEqual(ROUTES.map(({ method, path }) => `${method} ${path}`).sort());
  });

  test('serves the document', async () => {
    const response = await fetch(`${web.url}/api/openapi.json`);
    expect(await response.json()).toEqual(document);
  });

  test.each([
    ['face', FACE, 'faces_detected'],
    ['object', OBJECT, 'objects_detected'],
  ])('describes the way of a %s task', async (_kind, path, count) => {
    const queued = await ask(path, { at: path, ...upload(photo(), { priority: '9' }) });
    expect(queued.status).toBe(202);
    const at = queued.headers.get('location') ?? '';
    const task = await waitFor('the result', async () => {
      const { data } = await ask('/api/task/{id}', { at });
      return data.state === 'SUCCESS' ? data : undefined;
    });
    expect(task.result).toHaveProperty(count);
    const waited = await ask(path, {
      at: `${path}?wait=20&annotate=true&confidence=0.5&max_detections=3`,
      ...upload(photo()),
    });
    expect(waited.status).toBe(200);
    expect(waited.data).toMatchObject({ state: 'SUCCESS', options: { confidence: 0.5, max_detections: 3 } });
    const { annotated_image, original_image } = waited.data.result as Record<string, string>;
    for (const file of [annotated_image, original_image]) {
      expect((await ask('/api/uploads/{name}', { at: file ?? '' })).status).toBe(200);
    }
    const part = { at: original_image ?? '', headers: { Range: 'bytes=0-9' } };
    expect((await ask('/api/uploads/{name}', part)).status).toBe(206);
    const beyond = { at: original_image ?? '', headers: { Range: 'bytes=99999999-' } };
    expect((await ask('/api/uploads/{name}', beyond)).status).toBe(416);
    expect((await ask('/api/task/{id}', { at, method: 'DELETE' })).code).toBe('TASK_FINISHED');
    expect((await ask('/api/task/{id}/events', { at: `${at}/events` })).status).toBe(200);
  });

  test.each([
    '/api/tasks',
    '/api/models',
    '/api/health',
    '/api/health/live',
    '/api/health/ready',
    '/api/openapi.json',
    '/metrics',
    '/metrics/scaling',
  ])('describes the answer of %s', async (path) => {
    expect((await ask(path)).status).toBe(200);
  });

  test('describes what is refused', async () => {
    const codeOf = async (path: string, asked: Asked) => (await ask(path, asked)).code;
    expect(await codeOf(FACE, { at: FACE, ...upload(undefined) })).toBe('NO_FILE');
    expect(await codeOf(FACE, { at: FACE, ...upload(photo(), { nms: '7' }) })).toBe('INVALID_OPTION');
    const type = { 'content-type': 'multipart/form-data; boundary=x' };
    expect(await codeOf(FACE, { at: FACE, method: 'POST', body: '--x\r\nbroken', headers: type })).toBe('BAD_REQUEST');
    expect(await codeOf(FACE, { at: FACE, ...upload(new Blob(['plain text'])) })).toBe('UNSUPPORTED_MEDIA_TYPE');
    const head = photo().slice(0, 300);
    expect(await codeOf(FACE, { at: FACE, ...upload(head) })).toBe('UNREADABLE_MEDIA');
    expect(await codeOf(FACE, { at: FACE, ...upload(new Blob([new Uint8Array(2_100_000)])) })).toBe('FILE_TOO_LARGE');
    const key = { 'Idempotency-Key': 'once' };
    expect((await ask(FACE, { at: FACE, ...upload(photo(), {}, key) })).status).toBe(202);
    expect(await codeOf(FACE, { at: FACE, ...upload(photo(), { nms: '0.1' }, key) })).toBe('IDEMPOTENCY_MISMATCH');
    for (const method of ['GET', 'DELETE']) {
      expect(await codeOf('/api/task/{id}', { at: '/api/task/unknown', method })).toBe('TASK_NOT_FOUND');
    }
    expect(await codeOf('/api/task/{id}', { at: '/api/task/%zz' })).toBe('BAD_REQUEST');
    expect(await codeOf('/api/task/{id}/events', { at: '/api/task/unknown/events' })).toBe('TASK_NOT_FOUND');
    expect(await codeOf('/api/tasks', { at: '/api/tasks?limit=0' })).toBe('INVALID_OPTION');
    expect(await codeOf('/api/tasks', { at: '/api/tasks', headers: { 'X-Forwarded-For': '192.0.2.1' } })).toBe(
      'FORBIDDEN',
    );
    expect(await codeOf('/metrics', { at: '/metrics', headers: { 'X-Forwarded-For': '192.0.2.1' } })).toBe('FORBIDDEN');
    expect(await codeOf('/api/uploads/{name}', { at: '/api/uploads/none.jpg' })).toBe('NOT_FOUND');
  });

  test('describes a waiting task and its cancelling', async () => {
    const url = await another({ REDIS_URL: idle.url });
    const queued = await ask(FACE, { at: url + FACE, ...upload(photo(), { classes: 'face' }) });
    const at = `${url}${queued.headers.get('location')}`;
    expect((await ask('/api/task/{id}', { at })).data).toMatchObject({ state: 'PENDING', position: 1 });
    for (let time = 1; time <= 2; time++) {
      expect(await ask('/api/task/{id}', { at, method: 'DELETE' })).toMatchObject({ data: { state: 'REVOKED' } });
    }
    expect((await ask('/api/task/{id}', { at })).data.state).toBe('REVOKED');
    expect((await ask('/api/tasks', { at: `${url}/api/tasks?state=REVOKED` })).data.tasks).toHaveLength(1);
  });

  test('an answer with a field that is not described would be noticed', async () => {
    const answer = (await (await fetch(`${web.url}/api/health`)).json()) as { data: Json };
    const schema = ['paths', '/api/health', 'get', 'responses', '200', 'content', 'application/json', 'schema'];
    expect(validator(STRICT, ...schema)(answer)).toBe(true);
    expect(validator(STRICT, ...schema)({ ...answer, data: { ...answer.data, secret: 1 } })).toBe(false);
  });

  test('describes API keys and the rate limit', async () => {
    const url = await another({ API_KEYS: 'ada:key-1', API_RATE_LIMIT: '1 per hour' });
    for (const path of ['/api/tasks', '/api/models'])
      expect((await ask(path, { at: url + path })).code).toBe('UNAUTHORIZED');
    expect((await ask(FACE, { at: url + FACE, ...upload(photo()) })).code).toBe('UNAUTHORIZED');
    const key = { 'X-API-Key': 'key-1' };
    expect((await ask('/api/models', { at: `${url}/api/models`, headers: key })).status).toBe(200);
    expect((await ask(FACE, { at: url + FACE, ...upload(photo(), {}, key) })).status).toBe(202);
    const limited = await ask(FACE, { at: url + FACE, ...upload(photo(), {}, key) });
    expect(limited.code).toBe('RATE_LIMITED');
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('describes what happens without Redis or models', async () => {
    const models = tempDir('m');
    const url = await another({ REDIS_URL: `unix://${join(models, 'no-redis')}` });
    for (const path of ['/api/tasks', '/api/health/ready', '/metrics/scaling']) {
      expect((await ask(path, { at: url + path })).code).toBe('QUEUE_UNAVAILABLE');
    }
    expect((await ask(FACE, { at: url + FACE, ...upload(photo()) })).code).toBe('QUEUE_UNAVAILABLE');
    const health = await ask('/api/health', { at: `${url}/api/health` });
    expect(health).toMatchObject({ status: 503, data: { status: 'down' } });
    const bare = await another({ MODELS_DIR: models });
    expect((await ask(OBJECT, { at: bare + OBJECT, ...upload(photo()) })).code).toBe('MODEL_UNAVAILABLE');
    const degraded = await ask('/api/health', { at: `${bare}/api/health` });
    expect(degraded).toMatchObject({ status: 200, data: { status: 'degraded' } });
  });

  test('describes the sync mode', async () => {
    const url = await another({ MODE: 'sync' });
    await waitFor('the detectors', async () => (await fetch(`${url}/api/health/ready`)).status === 200, {
      timeoutMs: 30_000,
    });
    const { status, data } = await ask(FACE, { at: url + FACE, ...upload(photo()) }, OPEN);
    expect(status).toBe(200);
    expect(data).toMatchObject({ success: true, task_id: expect.any(String), faces_detected: expect.any(Number) });
    expect((await ask('/api/health', { at: `${url}/api/health` })).data.mode).toBe('sync');
    expect((await ask('/api/tasks', { at: `${url}/api/tasks` })).code).toBe('NOT_IN_SYNC_MODE');
    expect((await ask('/api/task/{id}/events', { at: `${url}/api/task/x/events` })).code).toBe('NOT_IN_SYNC_MODE');
    expect((await ask('/api/task/{id}', { at: `${url}/api/task/x` })).code).toBe('TASK_NOT_FOUND');
  });
});
