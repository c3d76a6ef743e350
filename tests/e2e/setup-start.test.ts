import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { requireFreePort } from '../../src/supervisor/ports.ts';
import { ended, submit } from '../support/api.ts';
import { serviceProcesses } from '../support/processes.ts';
import {
  freePort,
  type Home,
  makeHome,
  redisSocketOf,
  runToEnd,
  type Service,
  startService,
} from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const picture = () => new Uint8Array(readFileSync(sharedPath('data/bad/image/good.jpg')));

/** Starts a service that the test stops itself, or that is stopped for it. */
async function start(options: Parameters<typeof startService>[0] = {}): Promise<Service> {
  const service = await startService({ ...options, env: { WORKER_CONCURRENCY: '1', ...options.env } });
  onTestFinished(async () => {
    await service.stop('SIGTERM');
  });
  return service;
}

function submitMany(service: Service, count: number): Promise<string[]> {
  const routes = ['face/image', 'object/image'];
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      submit(service.url, routes[index % 2] ?? '', { file: picture(), type: 'image/jpeg' }),
    ),
  );
}

async function expectSuccess(service: Service, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const task = await ended(service.url, id);
    expect(task.state, JSON.stringify(task)).toBe('SUCCESS');
  }
}

function expectNothingLeft(home: Home): void {
  expect(serviceProcesses(home.root)).toEqual([]);
  expect(existsSync(redisSocketOf(home))).toBe(false);
  expect(existsSync(join(home.root, 'data/supervisor.lock'))).toBe(false);
}

describe.skipIf(!requireShared())('a running service', () => {
  let service: Service;

  let healthPort: number;

  beforeAll(async () => {
    healthPort = await waitFor('two free ports in a row', async () => {
      const port = await freePort();
      await requireFreePort({ host: undefined, port: port + 1, portSetting: 'HEALTH_PORT' });
      return port;
    });
    service = await startService({ env: { WORKER_CONCURRENCY: '1', HEALTH_PORT: String(healthPort) } });
  });
  afterAll(() => service.stop());

  it('says where it is to be found, and when it is ready', async () => {
    const lines = service.output().split('\n');
    expect(lines).toContain(`web        ${service.url}`);
    expect(lines).toContain(`docs       ${service.url}/docs`);
    expect(lines).toContain(`dashboard  ${service.dashboardUrl}`);
    expect(lines.filter((line) => /^Recognize is ready \(\d+\.\d s\)/.test(line))).toHaveLength(1);
    expect((await fetch(`${service.url}/docs`)).status).toBe(200);
    expect((await fetch(service.dashboardUrl)).status).toBe(200);
  });

  it('is web, a worker of each kind with its lane, the dashboard and a Redis without a TCP port', () => {
    const counts = (['all', 'web', 'worker:face', 'worker:object', 'dashboard', 'lane', 'redis'] as const).map(
      (role) => service.pids(role).length,
    );
    expect(counts).toEqual([1, 1, 1, 1, 1, 2, 1]);
    expect(service.processes()).toHaveLength(8);
    expect(service.processes().find(({ command }) => command.includes('redis-server'))?.command).toMatch(
      /unixsocket:.*redis\.sock/,
    );
  });

  it('gives each worker a health port of its own', async () => {
    for (const port of [healthPort, healthPort + 1]) {
      expect((await fetch(`http://127.0.0.1:${port}/api/health/ready`)).status).toBe(200);
    }
  });

  it('refuses a second start on its data folder in one sentence and goes on', async () => {
    const { code, output } = await runToEnd(service.home, { PORT: '0', DASHBOARD_PORT: '0' });
    expect(output).toBe(
      `Recognize already runs on this data folder (process ${service.pid}). Stop it, or set DATA_DIR to another folder.\n`,
    );
    expect(code).not.toBe(0);
    await expectSuccess(service, await submitMany(service, 2));
  });

  it.each(['web', 'worker:face', 'worker:object', 'dashboard'] as const)(
    'starts %s again after a kill -9, without a lane left behind',
    async (role) => {
      const [killed] = service.kill9(role);
      await waitFor(`${role} to be back`, () => service.pids(role).some((pid) => pid !== killed));
      await waitFor('web and dashboard to answer', async () => {
        const answers = await Promise.all([fetch(`${service.url}/api/health/ready`), fetch(service.dashboardUrl)]);
        return answers.every(({ ok }) => ok);
      });
      await expectSuccess(service, await submitMany(service, 4));
      expect(service.pids('lane')).toHaveLength(2);
    },
  );

  it('starts Redis again after a kill -9, with its data', async () => {
    const before = await submitMany(service, 2);
    await expectSuccess(service, before);
    const waiting = await submitMany(service, 10);
    const [killed] = service.kill9('redis');
    await waitFor('Redis to be back', () => service.pids('redis').some((pid) => pid !== killed));
    await waitFor('web to be ready', async () => (await fetch(`${service.url}/api/health/ready`)).ok);
    await expectSuccess(service, [...before, ...waiting]);
  });
});

describe.skipIf(!requireShared())('stopping', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'ends everything on %s, and keeps accepted tasks',
    async (signal) => {
      const service = await start();
      const ids = await submitMany(service, 12);
      const { code, ms } = await service.stop(signal);
      expect(code).toBe(0);
      expect(ms).toBeLessThan(10_000);
      expectNothingLeft(service.home);
      await expectSuccess(await start({ home: service.home }), ids);
    },
  );

  it('ends everything when npm gets a SIGTERM', async () => {
    const service = await start({ command: ['npm', 'start'] });
    process.kill(service.pid, 'SIGTERM');
    await service.exited;
    expectNothingLeft(service.home);
  });

  it('ends a process that hangs when the grace period is over', async () => {
    const service = await start({ env: { GRACE_PERIOD: '1' } });
    for (const pid of service.pids('worker:face')) process.kill(pid, 'SIGSTOP');
    const { code, ms } = await service.stop();
    expect(code).toBe(0);
    expect(ms).toBeGreaterThan(1000);
    expect(ms).toBeLessThan(5000);
    expectNothingLeft(service.home);
  });

  it('ends everything at once on a second Ctrl-C', async () => {
    const service = await start({ env: { GRACE_PERIOD: '60' } });
    for (const pid of service.pids('worker:object')) process.kill(pid, 'SIGSTOP');
    const stopped = service.stop();
    await sleep(1500);
    expect(service.pids('worker:object')).toHaveLength(1);
    const again = performance.now();
    process.kill(-service.pid, 'SIGINT');
    expect((await stopped).code).toBe(0);
    expect(performance.now() - again).toBeLessThan(2000);
    expectNothingLeft(service.home);
  });

  it('leaves no process of ours running when the supervisor is killed with -9, and starts again after that', async () => {
    const service = await start();
    const ids = await submitMany(service, 4);
    service.kill9('all');
    await service.exited;
    await waitFor(
      'the other processes to end',
      () => service.processes().every(({ command }) => command.includes('redis-server')),
      { timeoutMs: 15_000 },
    );
    const [leftover] = service.pids('redis');
    const next = await start({ home: service.home });
    expect(next.pids('redis')).toHaveLength(1);
    expect(next.pids('redis')).not.toContain(leftover);
    await expectSuccess(next, ids);
    await next.stop();
    expectNothingLeft(service.home);
  });
});

describe('a start that cannot be', () => {
  let home: Home;
  beforeAll(async () => {
    home = await makeHome({ MODELS_DIR: '/nonexistent' });
  });

  it.each([
    ['PORT', 'DASHBOARD_PORT'],
    ['DASHBOARD_PORT', 'PORT'],
  ])('names %s when that port is taken, and leaves nothing', async (setting) => {
    const port = Number(home.environment[setting]);
    const server = createServer().listen(port, '127.0.0.1');
    onTestFinished(() => {
      server.close();
    });
    const { code, output } = await runToEnd(home, {});
    expect(output).toBe(`Port ${port} on 127.0.0.1 is taken. Set ${setting} to a free one.\n`);
    expect(code).not.toBe(0);
    expectNothingLeft(home);
  });

  it('names a wrong setting', async () => {
    const { code, output } = await runToEnd(home, { PORT: 'five' });
    expect(output).toMatch(/^Wrong setting: PORT [^\n]+\n$/);
    expect(code).not.toBe(0);
  });

  it('says what to do when redis-server is missing, and leaves nothing', async () => {
    const { code, output } = await runToEnd(home, { PATH: '/nonexistent' });
    expect(output).toBe(
      'redis-server is not installed. Run `npm run setup`, or set REDIS_URL to a Redis of your own.\n',
    );
    expect(code).not.toBe(0);
    expectNothingLeft(home);
  });
});

describe.skipIf(!requireShared())('sync mode', () => {
  it('is web alone, and answers with the result', async () => {
    const service = await start({ env: { MODE: 'sync' } });
    expect(service.pids('web')).toHaveLength(1);
    for (const role of ['redis', 'dashboard', 'worker:face', 'worker:object'] as const) {
      expect(service.pids(role)).toEqual([]);
    }
    const form = new FormData();
    form.append('file', new Blob([picture()], { type: 'image/jpeg' }), 'picture.jpg');
    const answer = await fetch(`${service.url}/api/detect/face/image`, { method: 'POST', body: form });
    const { data } = (await answer.json()) as { data: Record<string, unknown> };
    expect({ status: answer.status, found: data.faces_detected }).toEqual({ status: 200, found: 1 });
    expect((await service.stop()).code).toBe(0);
    expectNothingLeft(service.home);
  });
});
