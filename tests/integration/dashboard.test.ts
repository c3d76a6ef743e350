import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Worker } from 'bullmq';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { hashPassword } from '../../src/dashboard/password.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { KEYS, PREFIX } from '../../src/queue/keys.ts';
import { openQueues } from '../../src/queue/queues.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startService } from '../support/service.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

/** To nowhere: what operators do is logged at any level. */
const silent = pino({ level: 'silent' }, { write: () => undefined });

type Answer = { status: number; headers: IncomingHttpHeaders; body: string };

/** A plain client: unlike fetch it sends any Host, Origin and Sec-Fetch-Site it is told to. */
function call(
  url: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const request = httpRequest(url, { method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    request.once('error', reject).end();
  });
}

const basic = (name: string, password: string) => ({
  Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
});

let redis: TestRedis;
const running = new Set<RunningDashboard>();
const printed: string[] = [];

async function start(environment: Record<string, string> = {}): Promise<RunningDashboard> {
  const config = loadConfig({ REDIS_URL: redis.url, DATA_DIR: tempDir('d'), DASHBOARD_PORT: '0', ...environment });
  const dashboard = await runDashboard(config, silent, (line) => printed.push(line));
  running.add(dashboard);
  await waitFor('Redis', async () => (await call(`${dashboard.url}/api/health/ready`)).status === 200);
  return { url: dashboard.url.replace('0.0.0.0', '127.0.0.1'), stop: dashboard.stop };
}

beforeAll(async () => {
  redis = await startRedis();
});

afterEach(async () => {
  await Promise.all([...running].map((dashboard) => dashboard.stop()));
  running.clear();
  printed.length = 0;
});

afterAll(() => redis.stop());

/** Two finished jobs, two failed ones and one that waits, written as the service's own parties write them. */
async function fillQueue(): Promise<void> {
  const client = redis.client();
  const queues = openQueues(client);
  await waitFor('Redis', () => client.status === 'ready');
  const names = ['done', 'crowd', 'refused', 'broken'];
  for (const name of names) await queues.face.add('image', { v: 1, name }, { jobId: name, attempts: 1 });
  const worker = new Worker(
    'face_detection',
    async (job) => {
      if (job.id === 'refused') throw new Error('UNREADABLE_MEDIA: The picture is broken.');
      if (job.id === 'broken') throw new Error("ENOENT: no such file or directory, open '/srv/uploads/a.jpg'");
      const faces = Array.from({ length: job.id === 'crowd' ? 500 : 2 }, (_, index) => ({ face_id: index + 1 }));
      return { success: true, faces_detected: faces.length, faces };
    },
    { connection: { path: redis.socket, maxRetriesPerRequest: null }, prefix: PREFIX, name: 'face_worker_1' },
  );
  worker.on('error', () => {});
  await waitFor('the jobs', async () => {
    const counts = await queues.face.getJobCounts('completed', 'failed');
    return counts.completed === 2 && counts.failed === 2;
  });
  await worker.close();
  await queues.face.add('image', { v: 1 }, { jobId: 'next', priority: 9 });
  await queues.face.close();
  await queues.object.close();
}

const QUEUE = '/api/queues?activeQueue=face_detection&status=latest&page=1&jobsPerPage=20';

describe('on this machine', () => {
  test('no login is needed for the page, the queues, metrics and health', async () => {
    const { url } = await start();
    const page = await call(url);
    expect(page.status).toBe(200);
    expect(page.body).toContain('<title>Recognize</title>');
    expect(page.body).not.toMatch(/(src|href)="https?:/);
    expect(page.headers['content-security-policy']).toContain("script-src 'self';");
    expect(page.headers['x-powered-by']).toBeUndefined();
    const { queues } = JSON.parse((await call(`${url}${QUEUE}`)).body);
    expect(queues.map(({ name }: { name: string }) => name)).toEqual(['face_detection', 'object_detection']);
    expect(queues[0]).toMatchObject({
      readOnlyMode: false,
      allowRetries: true,
      allowCompletedRetries: false,
      description: 'Tasks for face workers',
    });
    const metrics = await call(`${url}/metrics`);
    expect(metrics.headers['content-type']).toMatch(/^text\/plain/);
    expect(metrics.body).toContain('recognize_queue_depth{queue="face_detection"} 0');
    expect(metrics.body).toMatch(/^recognize_redis_up 1$/m);
    expect(metrics.body).toMatch(/^recognize_dashboard_process_resident_memory_bytes \d/m);
    const scaling = JSON.parse((await call(`${url}/metrics/scaling`)).body);
    expect(scaling.queues.object_detection).toEqual({
      depth: 0,
      waiting: 0,
      prioritized: 0,
      active: 0,
      delayed_due: 0,
      oldest_waiting_s: 0,
    });
    expect(JSON.parse((await call(`${url}/api/health/live`)).body)).toMatchObject({ success: true });
    expect(printed).toEqual([]);
  });

  test.each([
    [200, { Host: 'localhost:5555' }],
    [200, { Host: '127.0.0.1' }],
    [200, { Host: '[::1]:5555' }],
    [403, { Host: 'rebound.example:5555' }],
    [403, { Host: '127.0.0.1.example' }],
    [403, { Host: '192.0.2.1:5555' }],
    [403, { Host: '127.0.0.1:5555', 'X-Forwarded-For': '192.0.2.1' }],
  ])('the answer is %i for %j', async (status, headers) => {
    const { url } = await start();
    for (const path of ['/', QUEUE, '/metrics']) expect((await call(url + path, { headers })).status).toBe(status);
  });

  test('changes are taken from the own pages only', async () => {
    const { url } = await start();
    const { host } = new URL(url);
    const pause = async (headers: Record<string, string>) =>
      (await call(`${url}/api/queues/object_detection/pause`, { method: 'PUT', headers })).status;
    expect(await pause({})).toBe(403);
    expect(await pause({ Origin: 'https://evil.example' })).toBe(403);
    expect(await pause({ Origin: 'null' })).toBe(403);
    expect(await pause({ Origin: 'http://127.0.0.1:1' })).toBe(403);
    expect(await pause({ Origin: `http://${host}`, 'Sec-Fetch-Site': 'same-site' })).toBe(403);
    expect(await pause({ 'Sec-Fetch-Site': 'cross-site' })).toBe(403);
    const isPaused = async () => JSON.parse((await call(url + QUEUE)).body).queues[1].isPaused;
    expect(await isPaused()).toBe(false);
    expect(await pause({ Origin: `http://${host}` })).toBe(200);
    expect(await isPaused()).toBe(true);
    const resume = `${url}/api/queues/object_detection/resume`;
    expect((await call(resume, { method: 'PUT', headers: { 'Sec-Fetch-Site': 'same-origin' } })).status).toBe(200);
    expect(await isPaused()).toBe(false);
  });
});

test('jobs are shown without paths and stack traces, big results cut', async () => {
  await fillQueue();
  const { url } = await start();
  const list = await call(url + QUEUE);
  expect(list.body).not.toMatch(/srv|node_modules|\.ts:|\.js:|stacktrace":\["/);
  const [{ jobs, counts }] = JSON.parse(list.body).queues;
  expect(counts).toMatchObject({ completed: 2, failed: 2, prioritized: 1 });
  const byId = new Map<string, { failedReason?: string; returnValue?: { faces: unknown[] } }>(
    jobs.map((job: { id: string }) => [job.id, job]),
  );
  expect(byId.get('refused')?.failedReason).toBe('UNREADABLE_MEDIA: The picture is broken.');
  expect(byId.get('broken')?.failedReason).toBe("ENOENT: no such file or directory, open '...'");
  expect(byId.get('done')?.returnValue?.faces).toHaveLength(2);
  expect(byId.get('crowd')?.returnValue?.faces).toHaveLength(21);
  const single = await call(`${url}/api/queues/face_detection/broken`);
  expect(JSON.parse(single.body)).toMatchObject({ status: 'failed', job: { id: 'broken', stacktrace: [] } });
  expect(single.body).not.toContain('srv');
});

describe('with a login', () => {
  test('DASHBOARD_USER is an admin; without it nothing but health is shown', async () => {
    const { url } = await start({ DASHBOARD_USER: 'ada', DASHBOARD_PASSWORD: 'pä:ss' });
    for (const path of ['/', QUEUE, '/metrics', '/metrics/scaling', '/static/favicon-32x32.png']) {
      const refused = await call(url + path);
      expect(refused.status).toBe(401);
      expect(refused.headers['www-authenticate']).toMatch(/^Basic realm="Recognize"/);
      expect((await call(url + path, { headers: basic('ada', 'pä:ss') })).status).toBe(200);
    }
    expect(JSON.parse((await call(url + QUEUE)).body)).toMatchObject({ success: false, error_code: 'UNAUTHORIZED' });
    expect((await call(`${url}/api/health/live`)).status).toBe(200);
    expect((await call(url, { headers: { Host: 'dash.example', ...basic('ada', 'pä:ss') } })).status).toBe(200);
    expect((await call(url, { headers: basic('ada', 'other') })).status).toBe(401);
    expect((await call(url, { headers: basic('bob', 'pä:ss') })).status).toBe(401);
    expect((await call(url, { headers: { Authorization: 'Basic ?' } })).status).toBe(401);
  });

  test('DASHBOARD_USERS wins; a viewer looks and changes nothing', async () => {
    const users = [`ada:admin:${await hashPassword('one')}`, `eve:viewer:${await hashPassword('two')}`];
    const { url } = await start({
      DASHBOARD_USERS: users.join(','),
      DASHBOARD_USER: 'root',
      DASHBOARD_PASSWORD: 'three',
    });
    const own = { Origin: url };
    expect((await call(url, { headers: basic('root', 'three') })).status).toBe(401);
    const seen = await call(url + QUEUE, { headers: basic('eve', 'two') });
    expect(JSON.parse(seen.body).queues[0]).toMatchObject({ readOnlyMode: true, allowRetries: false });
    expect((await call(`${url}/metrics`, { headers: basic('eve', 'two') })).status).toBe(200);
    for (const [method, path] of [
      ['PUT', '/api/queues/pause'],
      ['PUT', '/api/queues/face_detection/empty'],
      ['POST', '/api/queues/face_detection/add'],
      ['PATCH', '/api/queues/face_detection/next/priority'],
      ['DELETE', '/api/queues/face_detection'],
    ] as const) {
      const refused = await call(url + path, { method, headers: { ...own, ...basic('eve', 'two') } });
      expect(refused.status).toBe(403);
      expect(JSON.parse(refused.body)).toMatchObject({ success: false, error_code: 'FORBIDDEN' });
    }
    const admin = { ...own, ...basic('ada', 'one') };
    expect((await call(`${url}/api/queues/pause`, { method: 'PUT', headers: admin })).status).toBe(200);
    expect((await call(`${url}/api/queues/resume`, { method: 'PUT', headers: admin })).status).toBe(200);
    expect((await call(`${url}/api/queues/pause`, { method: 'PUT', headers: basic('ada', 'one') })).status).toBe(403);
    // Not even an admin makes accepted tasks vanish, or tasks of nothing.
    for (const [method, path] of [
      ['PUT', '/api/queues/face_detection/empty'],
      ['PUT', '/api/queues/face_detection/obliterate'],
      // The board takes a path in any case, with an ending slash, and encoded.
      ['PUT', '/api/queues/face_detection/empty/'],
      ['PUT', '/API/queues/face_detection/Obliterate'],
      ['PUT', '/api/queues/face%5Fdetection/clean/waiting/'],
      ['PUT', '/api/queues/face_detection/clean/waiting'],
      ['PUT', '/api/queues/face_detection/clean/delayed'],
      ['POST', '/api/queues/face_detection/add'],
      // Nor do they move tasks past the rules of their priority, or take results back.
      ['PATCH', '/api/queues/face_detection/next/priority'],
      ['PUT', '/api/queues/face_detection/next/promote'],
      ['PUT', '/API/queues/face_detection/next/Promote/'],
      ['PUT', '/api/queues/face_detection/promote'],
      ['PATCH', '/api/queues/face_detection/next/delay'],
      ['PUT', '/api/queues/face_detection/retry/completed'],
      ['PUT', '/api/queues/face_detection/done/retry'],
    ] as const) {
      const refused = await call(url + path, { method, headers: admin });
      expect([path, refused.status, JSON.parse(refused.body).error_code]).toEqual([path, 403, 'FORBIDDEN']);
    }
    expect(
      (await call(`${url}/api/queues/face_detection/clean/failed`, { method: 'PUT', headers: admin })).status,
    ).toBe(200);
  });

  test('repeated wrong passwords lock the address out, also for the right one', async () => {
    const { url } = await start({ DASHBOARD_USER: 'ada', DASHBOARD_PASSWORD: 'right' });
    const right = async () => (await call(url, { headers: basic('ada', 'right') })).status;
    expect(await right()).toBe(200);
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push((await call(url, { headers: basic('ada', `wrong ${i}`) })).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
    expect(await right()).toBe(429);
    const locked = await call(url, { headers: basic('ada', 'right') });
    expect(Number(locked.headers['retry-after'])).toBeGreaterThan(20);
    expect(JSON.parse(locked.body)).toMatchObject({ success: false, error_code: 'RATE_LIMITED' });
  });

  test('who has logged in from a browser stays in while the address is locked, as nobody else', async () => {
    const users = `ada:admin:${await hashPassword('one')},eve:viewer:${await hashPassword('two')}`;
    const { url } = await start({ DASHBOARD_USERS: users });
    async function logIn(name: string, password: string): Promise<string> {
      const { status, headers } = await call(url, { headers: basic(name, password) });
      expect(status).toBe(200);
      const [cookie = ''] = headers['set-cookie'] ?? [];
      expect(cookie).toMatch(/^recognize_session=[\w.-]+; Path=\/; HttpOnly; SameSite=Strict$/);
      return cookie.split(';')[0] ?? '';
    }
    const [ada, eve] = [await logIn('ada', 'one'), await logIn('eve', 'two')];
    for (let i = 0; i < 5; i++) await call(url, { headers: basic('ada', `wrong ${i}`) });
    const me = async (headers: Record<string, string>) => {
      const { status, body } = await call(`${url}/api/admin/me`, { headers });
      return status === 200 ? (JSON.parse(body) as { data: { name: string } }).data.name : status;
    };
    expect(await me(basic('ada', 'one'))).toBe(429);
    expect(await me({ Cookie: ada })).toBe('ada');
    // As a browser sends it, along with what it remembers; a guess beside it is neither right nor wrong.
    expect(await me({ Cookie: `x=1; ${ada}`, ...basic('ada', 'one') })).toBe('ada');
    expect(await me({ Cookie: ada, ...basic('ada', 'guess') })).toBe('ada');
    expect(await me({ Cookie: ada, ...basic('eve', 'guess') })).toBe(429);
    expect(await me({ Cookie: ada, ...basic('eve', 'two') })).toBe(429);
    const [name = '', until = '', signature = ''] = ada.split('=')[1]?.split('.') ?? [];
    const eveName = Buffer.from('eve').toString('base64url');
    for (const forged of [
      `${eveName}.${until}.${signature}`,
      `${name}.${Number(until) + 1}.${signature}`,
      `${name}.${until}.${'A'.repeat(43)}`,
      `${name}.${until}.`,
      '',
    ])
      expect(await me({ Cookie: `recognize_session=${forged}` })).toBe(401);
    const pause = (headers: Record<string, string>) => call(`${url}/api/queues/pause`, { method: 'PUT', headers });
    expect((await pause({ Cookie: eve, Origin: url })).status).toBe(403);
    expect((await pause({ Cookie: ada })).status).toBe(403);
    expect((await pause({ Cookie: ada, Origin: 'https://evil.example' })).status).toBe(403);
    // Nobody else's process takes it.
    const other = await start({ DASHBOARD_USERS: users });
    expect((await call(other.url, { headers: { Cookie: ada } })).status).toBe(401);
  });

  test('a token for something else is no wrong password', async () => {
    const { url } = await start({ DASHBOARD_USER: 'ada', DASHBOARD_PASSWORD: 'right', METRICS_TOKEN: 'token-1' });
    for (let i = 0; i < 8; i++) {
      const headers = { Authorization: i % 2 === 0 ? `Bearer other-${i}` : 'Basic ?' };
      expect((await call(`${url}/metrics`, { headers })).status).toBe(401);
    }
    expect((await call(`${url}/metrics`, { headers: { Authorization: 'Bearer token-1' } })).status).toBe(200);
    expect((await call(url, { headers: basic('ada', 'right') })).status).toBe(200);
    // It opens the metrics of a locked address, too.
    for (let i = 0; i < 5; i++) await call(url, { headers: basic('ada', `wrong ${i}`) });
    expect((await call(`${url}/metrics`, { headers: { Authorization: 'Bearer token-1' } })).status).toBe(200);
    expect((await call(`${url}/metrics`, { headers: basic('ada', 'right') })).status).toBe(429);
  });

  test('a flood of guesses at once gets no more tries than one after another', async () => {
    const { url } = await start({ DASHBOARD_USER: 'ada', DASHBOARD_PASSWORD: 'right' });
    const guesses = Array.from({ length: 40 }, (_, i) => call(url, { headers: basic('ada', `guess ${i}`) }));
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(6);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(34);
  });

  test('METRICS_TOKEN opens the metrics and nothing else', async () => {
    const { url } = await start({ DASHBOARD_USER: 'ada', DASHBOARD_PASSWORD: 'right', METRICS_TOKEN: 'token-1' });
    const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });
    expect((await call(`${url}/metrics`, bearer('token-1'))).status).toBe(200);
    expect((await call(`${url}/metrics/scaling`, bearer('token-1'))).status).toBe(200);
    expect((await call(`${url}/metrics`, bearer('token-2'))).status).toBe(401);
    expect((await call(url + QUEUE, bearer('token-1'))).status).toBe(401);
  });

  test('METRICS_TOKEN opens the metrics without a login, too, also to callers that a proxy speaks for', async () => {
    const { url } = await start({ METRICS_TOKEN: 'token-1' });
    const proxied = { 'X-Forwarded-For': '203.0.113.7' };
    const asked = { headers: { ...proxied, Authorization: 'Bearer token-1' } };
    expect((await call(`${url}/metrics`, asked)).status).toBe(200);
    expect((await call(`${url}/metrics/scaling`, asked)).status).toBe(200);
    expect((await call(`${url}/metrics`, { headers: proxied })).status).toBe(403);
    expect((await call(url + QUEUE, asked)).status).toBe(403);
  });

  test.each([
    ['a plain password', 'ada:admin:secret', /no usable hash for ada/],
    ['a name twice', `ada:admin:HASH,ada:viewer:HASH`, /names ada twice/],
  ])('%s in DASHBOARD_USERS stops the start', async (_what, users, sentence) => {
    const hash = await hashPassword('x');
    await expect(start({ DASHBOARD_USERS: users.replaceAll('HASH', hash) })).rejects.toThrow(sentence);
  });
});

describe('on another address without a login', () => {
  const passwordOf = (lines: string[]) => / password (\S{20}) /.exec(lines.join('\n'))?.[1] ?? '';

  test('a password is made once per data folder and only its hash is kept', async () => {
    const data = tempDir('d');
    const environment = { DASHBOARD_HOST: '0.0.0.0', DATA_DIR: data };
    const first = await start(environment);
    expect(printed).toHaveLength(1);
    const password = passwordOf(printed);
    expect(password).toMatch(/^[\w-]{20}$/);
    expect((await call(first.url)).status).toBe(401);
    expect((await call(first.url, { headers: basic('admin', password) })).status).toBe(200);
    const file = join(data, 'dashboard-password');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toMatch(/^scrypt\$/);
    expect(readFileSync(file, 'utf8')).not.toContain(password);

    const second = await start(environment);
    expect(printed).toHaveLength(2);
    expect(printed[1]).not.toContain(password);
    expect((await call(second.url, { headers: basic('admin', password) })).status).toBe(200);

    await start({ ...environment, DATA_DIR: tempDir('d') });
    expect(passwordOf(printed.slice(2))).toMatch(/^[\w-]{20}$/);
    expect(passwordOf(printed.slice(2))).not.toBe(password);
  });

  test('the process prints it as a plain line, past the log', async () => {
    const logs = tempDir('l');
    const environment = { DASHBOARD_HOST: '0.0.0.0', LOG_DIR: logs, MODELS_DIR: tempDir('m'), REDIS_URL: redis.url };
    const service = await startService({ role: 'dashboard', env: environment });
    try {
      const lines = service.output().split('\n');
      const plain = lines.filter((line) => line !== '' && !line.startsWith('{'));
      expect(plain).toEqual([expect.stringMatching(/^dashboard login: user admin, password [\w-]{20} /)]);
      const password = passwordOf(plain);
      expect((await call(service.dashboardUrl, { headers: basic('admin', password) })).status).toBe(200);
      expect(lines.filter((line) => line.startsWith('{')).join()).not.toContain(password);
      for (const name of readdirSync(logs)) expect(readFileSync(join(logs, name), 'utf8')).not.toContain(password);
    } finally {
      expect(await service.stop()).toMatchObject({ code: 0 });
    }
  });

  test('two that start at the same time agree on one password', async () => {
    const environment = { DASHBOARD_HOST: '0.0.0.0', DATA_DIR: tempDir('d') };
    const both = await Promise.all([start(environment), start(environment)]);
    const made = printed.filter((line) => line.includes('shown this once'));
    expect(made).toHaveLength(1);
    for (const { url } of both) {
      expect((await call(url, { headers: basic('admin', passwordOf(made)) })).status).toBe(200);
    }
  });

  test('a damaged password file stops the start with a sentence', async () => {
    const data = tempDir('d');
    writeFileSync(join(data, 'dashboard-password'), 'scrypt$broken\n');
    await expect(start({ DASHBOARD_HOST: '0.0.0.0', DATA_DIR: data })).rejects.toThrow(/dashboard-password .*damaged/);
  });
});

test('a taken port is named', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  try {
    await expect(start({ DASHBOARD_PORT: port })).rejects.toThrow(/DASHBOARD_PORT/);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test('without Redis it says so at once, and recovers by itself', async () => {
  const { url } = await start();
  await redis.kill9();
  await waitFor('the outage', async () => (await call(`${url}/api/health/ready`)).status === 503);
  const began = performance.now();
  const page = await call(url, { headers: { Accept: 'text/html' } });
  expect(page.status).toBe(503);
  expect(page.headers.refresh).toBe('5');
  expect(page.body).toContain('Redis does not answer');
  for (const path of [QUEUE, '/metrics/scaling']) {
    const refused = await call(url + path);
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('5');
    expect(JSON.parse(refused.body)).toMatchObject({ success: false, error_code: 'QUEUE_UNAVAILABLE' });
    expect(refused.body).not.toContain(redis.socket);
  }
  const metrics = await call(`${url}/metrics`);
  expect(metrics.status).toBe(200);
  expect(metrics.body).toMatch(/^recognize_redis_up 0$/m);
  expect((await call(`${url}/api/health/live`)).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(4000);
  await redis.restart();
  await waitFor('the page', async () => (await call(url)).status === 200);
  expect((await call(url + QUEUE)).status).toBe(200);
});

test('a Redis that hangs is answered for within two seconds', async () => {
  const { url } = await start();
  process.kill(redis.pid(), 'SIGSTOP');
  try {
    for (const path of [QUEUE, '/metrics/scaling', '/api/health/ready']) {
      const began = performance.now();
      const refused = await call(url + path);
      expect(refused.status).toBe(503);
      expect(JSON.parse(refused.body)).toMatchObject({ success: false, error_code: 'QUEUE_UNAVAILABLE' });
      expect(performance.now() - began).toBeLessThan(2500);
    }
  } finally {
    process.kill(redis.pid(), 'SIGCONT');
  }
  await waitFor('the page', async () => (await call(url + QUEUE)).status === 200);
});

test('what BullMQ refuses is told, without a stack', async () => {
  const { url } = await start();
  const client = redis.client();
  const queues = openQueues(client);
  await waitFor('Redis', () => client.status === 'ready');
  await queues.object.add('image', { v: 1 }, { jobId: 'waits-already' });
  await Promise.all([queues.face.close(), queues.object.close()]);
  const removal = '/api/queues/object_detection/waits-already/clean';
  expect((await call(url + removal, { method: 'PUT', headers: { Origin: url } })).status).toBe(403);
  expect(await client.exists(KEYS.job('object_detection', 'waits-already'))).toBe(1);
  const path = '/api/queues/object_detection/waits-already/priority';
  const refused = await call(url + path, { method: 'PATCH', headers: { Origin: url } });
  expect(refused.status).toBe(403);
  expect(JSON.parse(refused.body)).toMatchObject({
    success: false,
    error_code: 'FORBIDDEN',
    message: expect.stringContaining("on a task's own page"),
  });
  expect(refused.body).not.toMatch(/node_modules|\bat \//);
  // Whatever else is pressed on a job that has moved on meanwhile is told apart from a fault.
  const others: [string, string, string, number][] = [
    ['PUT', 'waits-already/retry', '', 400],
    ['PUT', 'gone/promote', '', 403],
    ['PUT', 'gone/retry', '', 404],
    ['PUT', 'gone/clean', '', 404],
    ['PATCH', 'waits-already/delay', '{"runAt": 1}', 403],
    ['PATCH', 'waits-already/priority', '{"priority": 0}', 403],
    ['PUT', 'concurrency', '{"concurrency": ', 400],
    ['PUT', 'promote', '', 403],
    ['PUT', 'retry/completed', '', 403],
    ['PUT', 'waits-already/remove-unprocessed-children', '', 400],
    ['PUT', 'retry/active', '', 400],
    ['GET', 'gone', '', 404],
    ['GET', 'gone/flow', '', 404],
  ];
  for (const [method, place, body, status] of others) {
    const answer = await fetch(`${url}/api/queues/object_detection/${place}`, {
      method,
      headers: { Origin: url, 'Content-Type': 'application/json' },
      ...(body === '' ? {} : { body }),
    });
    await answer.text();
    expect({ method, place, status: answer.status }).toEqual({ method, place, status });
  }
});

test('it starts without Redis, too', async () => {
  const socket = join(tempDir('n'), 's');
  const config = loadConfig({ REDIS_URL: `unix://${socket}`, DATA_DIR: tempDir('d'), DASHBOARD_PORT: '0' });
  const dashboard = await runDashboard(config, silent);
  running.add(dashboard);
  expect((await call(`${dashboard.url}/api/health/live`)).status).toBe(200);
  expect((await call(dashboard.url)).status).toBe(503);
});

test('a stop leaves neither port nor connection behind', async () => {
  const client = redis.client();
  await waitFor('Redis', () => client.status === 'ready');
  const connections = async () =>
    String(await client.client('LIST'))
      .trim()
      .split('\n').length;
  const before = await connections();
  const { url, stop } = await start();
  await call(url + QUEUE);
  expect(await connections()).toBeGreaterThan(before);
  await stop();
  running.clear();
  await expect(call(url)).rejects.toThrow(/ECONNREFUSED/);
  await waitFor('the connections to end', async () => (await connections()) === before);
});
