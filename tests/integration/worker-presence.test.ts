import { spawn } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { identifyProcess } from '../../src/process-identity.ts';
import { beat, isLost, knownWorkers, liveWorkers } from '../../src/queue/heartbeat.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { takeWorkerLease } from '../../src/queue/worker-lease.ts';
import { call, ended, expectError, post, submit } from '../support/api.ts';
import { endChild, ownChild } from '../support/child.ts';
import { beatOnceBefore, heartbeatOf } from '../support/heartbeats.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { freePort, makeHome, runToEnd, type Service, startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const DOG = sharedPath('data/samples/dog.jpg');

async function withRedis(): Promise<{ server: TestRedis; redis: Redis }> {
  const server = await startRedis();
  return { server, redis: server.client() };
}

describe('the number of a worker', () => {
  let server: TestRedis;
  let redis: Redis;

  beforeEach(async () => {
    ({ server, redis } = await withRedis());
  });

  afterEach(async () => {
    await server.stop();
  });

  it('is the lowest that no living worker of its kind holds', async () => {
    const first = await takeWorkerLease(redis, 'face');
    const second = await takeWorkerLease(redis, 'face');
    const object = await takeWorkerLease(redis, 'object');
    expect([first, second, object].map(({ name }) => name)).toEqual([
      'face_worker_1',
      'face_worker_2',
      'object_worker_1',
    ]);
    await first.release();
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_1');
  });

  it('is never given twice, however many ask at once', async () => {
    const leases = await Promise.all(Array.from({ length: 20 }, () => takeWorkerLease(redis, 'face')));
    const names = leases.map(({ name }) => name).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    expect(names).toEqual(Array.from({ length: 20 }, (_, index) => `face_worker_${index + 1}`));
  });

  it('runs out by itself, and is told to be lost where somebody else took it since', async () => {
    const first = await takeWorkerLease(redis, 'face');
    const key = KEYS.workerLease('face', 1);
    const ttl = await redis.pttl(key);
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(15_000);
    expect(await first.renew()).toBe(true);
    await redis.del(key);
    const other = await takeWorkerLease(redis, 'face');
    expect(other.name).toBe('face_worker_1');
    expect(await first.renew()).toBe(false);
    await first.release();
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_2');
  });

  it('comes back after an outage that it did not survive in Redis', async () => {
    const first = await takeWorkerLease(redis, 'face');
    await redis.flushall();
    expect(await first.renew()).toBe(true);
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_2');
  });

  it('is free at once when the process that held it on this machine is gone', async () => {
    await takeWorkerLease(redis, 'face');
    const key = KEYS.workerLease('face', 1);
    const held = JSON.parse((await redis.get(key)) ?? '') as { pid: number; process: string; machine: string };
    expect(held.pid).toBe(process.pid);

    const child = ownChild(spawn('sleep', ['60']));
    const pid = child.pid ?? 0;
    const alive = { ...held, pid, process: identifyProcess(pid) };
    await redis.set(key, JSON.stringify(alive), 'PX', 15_000);
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_2');
    await endChild(child, 'SIGKILL');
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_1');
  });

  it('stays with a process of another machine, whatever runs here', async () => {
    await takeWorkerLease(redis, 'face');
    const key = KEYS.workerLease('face', 1);
    const held = JSON.parse((await redis.get(key)) ?? '') as object;
    await redis.set(key, JSON.stringify({ ...held, machine: 'elsewhere', pid: 2 ** 22 }), 'PX', 15_000);
    expect((await takeWorkerLease(redis, 'face')).name).toBe('face_worker_2');
  });
});

describe('the heartbeat of a worker', () => {
  it('is heard, and one of a lost worker when it has been silent for ten seconds', async () => {
    const { server, redis } = await withRedis();
    const heartbeat = heartbeatOf({
      host: hostname(),
      pid: process.pid,
      done: 3,
      failed: 1,
      load: 0.5,
      cpu_percent: 90,
      model: 'yunet',
      models: [{ name: 'yunet', provider: 'cpu' }],
    });
    await beat(redis, heartbeat);
    const { beat_at: heardAt, ...said } = heartbeat;
    expect(await liveWorkers(redis)).toMatchObject([said]);
    await sleep(10_500);
    expect(await liveWorkers(redis)).toEqual([]);
    const [lost, ...others] = (await knownWorkers(redis)).filter(isLost);
    expect(others).toEqual([]);
    expect(lost).toMatchObject(said);
    expect(Math.abs((lost?.beat_at ?? 0) - heardAt)).toBeLessThan(1000);
    const hourMs = await redis.pttl(KEYS.worker('face_worker_1'));
    expect(hourMs).toBeGreaterThan(3_500_000);
    expect(hourMs).toBeLessThanOrEqual(3_600_000);
    await server.stop();
  });

  it.each([-2, 2])('is as old as Redis says where clocks are %i h apart', async (hours) => {
    const { server, redis } = await withRedis();
    const now = Date.now();
    const clock = (at: number) => vi.useFakeTimers({ toFake: ['Date'], now: at });
    try {
      await beatOnceBefore(redis, heartbeatOf({ name: 'face_worker_1' }), 20_000);
      clock(now + hours * 3_600_000);
      await beat(redis, heartbeatOf({ name: 'face_worker_2' }));
      clock(now - hours * 3_600_000);
      const seen = (await knownWorkers(redis)).map((worker) => [worker.name, isLost(worker)]);
      expect(seen).toEqual([
        ['face_worker_1', true],
        ['face_worker_2', false],
      ]);
      expect((await liveWorkers(redis)).map(({ name }) => name)).toEqual(['face_worker_2']);
    } finally {
      vi.useRealTimers();
      await server.stop();
    }
  });
});

describe.skipIf(!requireShared())('a worker without a model', () => {
  let server: TestRedis;
  let web: Service;

  beforeAll(async () => {
    server = await startRedis();
    const home = await makeHome({ REDIS_URL: server.url, WORKER_CONCURRENCY: '1', GRACE_PERIOD: '1' });
    cpSync(join(home.root, 'models'), join(home.root, 'elsewhere'), { recursive: true });
    home.environment.MODELS_DIR = join(home.root, 'empty');
    web = await startService({ home, role: 'web' });
  });

  afterAll(async () => {
    await web.stop();
    await server.stop();
  });

  type Detection = { up: boolean; workers: number; slots: number; model: string | null; reason?: string };

  async function health(): Promise<{ status: string; detection: Detection }> {
    const { data } = (await call(`${web.url}/api/health`)).body;
    return {
      status: String(data.status),
      detection: (data.services as Record<string, Detection>).object_detection as Detection,
    };
  }

  it('waits, says what would help, and gets ready by itself once the file is there', async () => {
    const { home } = web;
    const healthPort = await freePort();
    const { child, output } = spawnWorker(home.environment, home.root, healthPort);
    try {
      const probe = (which: string) => fetch(`http://127.0.0.1:${healthPort}/api/health/${which}`);
      await waitFor('the worker to be heard', async () => {
        const { workers, reason } = (await health()).detection;
        return workers === 1 && reason !== 'starting';
      });
      const before = await health();
      expect(before.status).toBe('degraded');
      expect(before.detection).toMatchObject({ up: false, slots: 0, model: null });
      expect(before.detection.reason).toContain('npm run models -- pull');
      expect((await probe('live')).status).toBe(200);
      expect((await probe('ready')).status).toBe(503);
      expect((await probe('else')).status).toBe(404);
      const file = new Uint8Array(readFileSync(DOG));
      const refused = await post(web.url, 'object/image', { file });
      expectError(refused, 503, 'MODEL_UNAVAILABLE');
      expect(refused.body.message).toContain('npm run models -- pull');

      cpSync(join(home.root, 'elsewhere'), join(home.root, 'empty'), { recursive: true });
      await waitFor('the worker to be ready', async () => (await health()).detection.up, { timeoutMs: 30_000 });
      expect((await health()).detection).toMatchObject({ workers: 1, slots: 1, model: 'yolox_nano' });
      expect((await probe('ready')).status).toBe(200);
      expect((await ended(web.url, await submit(web.url, 'object/image', { file }))).state).toBe('SUCCESS');

      await server.kill9();
      await waitFor('not ready', async () => (await probe('ready')).status === 503);
      expect((await probe('live')).status).toBe(200);
      await server.restart();
      await waitFor('ready again', async () => (await probe('ready')).status === 200);
    } finally {
      await endChild(child);
    }
    const lines = readFileSync(join(home.root, 'logs', 'object_worker_1.log'), 'utf8')
      .trim()
      .split('\n');
    const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    expect(messages).toContain('worker ready');
    expect(messages).toContain('task done');
    expect(messages.at(-1)).toBe('worker stopped');
    for (const line of output().trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
    await waitFor('the worker to be gone', async () => (await health()).detection.workers === 0, { timeoutMs: 2000 });
  });

  it('says so when the file is there and cannot be loaded, and gets ready once it is mended', async () => {
    const { home } = web;
    const broken = join(home.root, 'broken');
    cpSync(join(home.root, 'elsewhere'), broken, { recursive: true });
    const file = join(broken, 'yolox_nano.onnx');
    const whole = readFileSync(file);
    writeFileSync(file, Buffer.alloc(whole.length));
    const { child } = spawnWorker({ ...home.environment, MODELS_DIR: broken }, home.root, await freePort());
    try {
      const heard = () => server.client().get(KEYS.worker('object_worker_1'));
      const reason = await waitFor('the reason', async () => {
        const heartbeat = JSON.parse((await heard()) ?? '{}') as { state?: string; reason?: string };
        return heartbeat.reason?.includes('yolox_nano') ? heartbeat : undefined;
      });
      expect(reason).toMatchObject({ state: 'starting' });
      expect(reason.reason).toContain('npm run models -- verify');
      writeFileSync(file, whole);
      await waitFor('the worker to be ready', async () => ((await heard()) ?? '').includes('"state":"ready"'), {
        timeoutMs: 30_000,
      });
    } finally {
      await endChild(child);
    }
  });

  it('goes on where its log cannot be written, and refuses a HEALTH_PORT that is taken', async () => {
    const { home } = web;
    const blocked = join(home.root, 'blocked');
    // A file where a folder should be: not even root can write below it.
    writeFileSync(blocked, '');
    chmodSync(blocked, 0o400);
    const healthPort = await freePort();
    const logs = { LOG_DIR: join(blocked, 'logs') };
    const { child, output } = spawnWorker({ ...home.environment, ...logs }, home.root, healthPort);
    try {
      await waitFor('the worker to be ready', () => output().includes('worker ready'), { timeoutMs: 30_000 });
      expect(output()).toMatch(/"level":"warn"[^\n]*the log file cannot be written/);
      const second = await runToEnd(home, { HEALTH_PORT: String(healthPort) }, 'worker:object');
      expect(second.code).toBe(78);
      expect(second.output.trim()).toBe(`Port ${healthPort} is taken. Set HEALTH_PORT to a free one.`);
    } finally {
      await endChild(child);
    }
  });

  it('is not ready while Redis hangs, and is again afterwards', async () => {
    const { home } = web;
    const healthPort = await freePort();
    const models = { MODELS_DIR: join(home.root, 'elsewhere') };
    const { child } = spawnWorker({ ...home.environment, ...models }, home.root, healthPort);
    const isReady = async () => (await fetch(`http://127.0.0.1:${healthPort}/api/health/ready`)).status;
    try {
      await waitFor('the worker to be ready', async () => (await isReady().catch(() => 0)) === 200, {
        timeoutMs: 30_000,
      });
      process.kill(server.pid(), 'SIGSTOP');
      await waitFor('the worker to say so', async () => (await isReady()) === 503, { timeoutMs: 15_000 });
      const refused = await fetch(`http://127.0.0.1:${healthPort}/api/health/ready`);
      expect(refused.headers.get('retry-after')).toBe('5');
      expect(await refused.json()).toMatchObject({ success: false, error_code: 'QUEUE_UNAVAILABLE' });
      process.kill(server.pid(), 'SIGCONT');
      await waitFor('the worker to be ready again', async () => (await isReady()) === 200, { timeoutMs: 15_000 });
    } finally {
      process.kill(server.pid(), 'SIGCONT');
      await endChild(child);
    }
  });

  function spawnWorker(environment: Record<string, string>, cwd: string, healthPort: number) {
    const child = ownChild(
      spawn(process.execPath, [join(import.meta.dirname, '../../src/main.ts'), 'worker:object'], {
        cwd,
        env: { ...environment, HEALTH_PORT: String(healthPort) },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    return { child, output: () => output };
  }
});
