import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';
import { createStack, docker, imageTag, ROOT, run, type Stack, VERSIONS } from './stack.ts';

const expectLastLine = (stack: Stack, service: string, sentence: RegExp) =>
  waitFor(`the last words of ${service}`, async () => sentence.test(await stack.lastLine(service)), {
    timeoutMs: 30_000,
  });

describe.each(VERSIONS)('wrong settings of the stack of Compose %i', (version) => {
  let stack: Stack;
  let occupant: Server;

  beforeAll(async () => {
    stack = await createStack(version, {
      REDIS_PASSWORD: 'abc123',
      DASHBOARD_USER: 'admin',
      DASHBOARD_PASSWORD: 'changeme',
      FACE_WORKER_MEMORY: '128M',
    });
    occupant = createServer();
    await new Promise<void>((done) => occupant.listen(Number(new URL(stack.url).port), '127.0.0.1', done));
  });
  afterAll(async () => {
    occupant?.close();
    await stack?.down();
  });

  const objectWorkers = async () =>
    (await stack.containers('object-worker')).map(({ Id, State }) => ({ Id, status: State.Status }));

  it.each([
    ['up', []],
    ['up -d', ['-d']],
  ])('name a port that is taken and leave the others running, by %s', async (_words, options) => {
    const said = await stack.compose('up', ...options).catch((error: { stderr: string }) => error.stderr);
    expect(said).toContain(new URL(stack.url).port);
    expect(said).toMatch(/already (in use|allocated)/);
    expect((await objectWorkers()).map(({ status }) => status)).toEqual(['running', 'running']);
    expect(await stack.containers('dashboard')).toHaveLength(1);
  });

  it.each([
    ['redis', /^Wrong setting: REDIS_PASSWORD is shorter than 12 characters\. .*npm run secrets/],
    ['dashboard', /^Wrong setting: DASHBOARD_PASSWORD is one of those that are tried first\. .*npm run secrets/],
    ['face-worker', /^The worker has 128 MiB of memory, too little to load a model: raise its memory limit to \d+ MiB/],
  ])('are told in the last line of the log of %s', async (service, sentence) => {
    await expectLastLine(stack, service, sentence);
  });

  it('are mended by the next up, which leaves alone what runs well', async () => {
    const before = await objectWorkers();
    occupant.close();
    const good = { DASHBOARD_PASSWORD: 'correct-horse-battery', FACE_WORKER_MEMORY: '2G' };
    await stack.withSettings(good).compose('up', '-d');
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 30_000 });
    expect(await objectWorkers()).toEqual(before);
  });
});

describe.each(VERSIONS)('a models volume that cannot be written, under Compose %i', (version) => {
  let stack: Stack;

  beforeAll(async () => {
    const override = join(tempDir('override'), 'override.yml');
    writeFileSync(override, 'services:\n  models:\n    volumes: ["models:/models:ro"]\n');
    stack = await createStack(version, {}, override);
    await stack.compose('up', '-d', '--scale', 'face-worker=1', '--scale', 'object-worker=1');
  });
  afterAll(async () => {
    await stack?.down();
  });

  it('is told last by the service models, and the others go on', async () => {
    await expectLastLine(stack, 'models', /^The folder \/models cannot be written: mount a volume/);
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/ready`)).ok, { timeoutMs: 30_000 });
    for (const service of ['web', 'dashboard', 'face-worker', 'object-worker', 'redis']) {
      const states = (await stack.containers(service)).map(({ State, RestartCount }) => [State.Status, RestartCount]);
      expect([service, ...states]).toEqual([service, ['running', 0]]);
    }
    const { status, body } = await call(`${stack.url}/api/health`);
    expect([status, body.data.status]).toEqual([200, 'degraded']);
    expect(JSON.stringify(body.data.services)).toContain('npm run models -- pull');
  });

  it('is told by workers, too: they wait for a model and say what fetches it', async () => {
    for (const service of ['face-worker', 'object-worker']) {
      await expectLastLine(stack, service, /"reason":"no model".*npm run models -- pull.*up models/);
    }
  });
});

describe('the password of Redis', () => {
  const start = ['-v', `${join(ROOT, 'deploy/compose/redis')}:/recognize:ro`, '--user', '999', 'redis:7-alpine'];
  const withPassword = (password: string) => [
    '-e',
    `REDIS_PASSWORD=${password}`,
    ...start,
    'sh',
    '/recognize/start-redis.sh',
  ];

  it.each(['aaaaaaaaaaaa', 'password1234', 'ChangeMe-2026', '1234567890123'])(
    'is refused where it is tried first: %s',
    async (password) => {
      await expect(run('docker', ['run', '--rm', ...withPassword(password)])).rejects.toMatchObject({
        code: 78,
        stderr: expect.stringMatching(
          /^Wrong setting: REDIS_PASSWORD is one of those that are tried first\. .*npm run secrets/,
        ),
      });
    },
  );

  it.each([
    ['recognize-on-its-internal-network', /^Warning: REDIS_PASSWORD is not set, or is the one that everybody knows/],
    ['Vn3rUc-password-0f', /^(?!Warning: REDIS)/],
  ])('lets Redis start, with a warning where everybody knows it: %s', async (password, said) => {
    const id = await docker('run', '-d', ...withPassword(password));
    try {
      const logs = () => run('docker', ['logs', id]);
      await waitFor('Redis', async () => /Ready to accept connections/.test(await logs()), { timeoutMs: 20_000 });
      expect(await logs()).toMatch(said);
    } finally {
      await docker('rm', '-f', '-v', id);
    }
  });
});

describe('a container without what it needs', () => {
  const LOCKED = [
    '--read-only',
    '--tmpfs',
    '/tmp',
    '-e',
    'TMP_DIR=/tmp/recognize',
    '-e',
    'REDIS_URL=redis://127.0.0.1:1',
  ];

  it.each(['web', 'dashboard', 'worker:object'])(
    'says so with too little memory even for Node.js: %s',
    async (role) => {
      const image = `recognize-${role.startsWith('worker') ? 'object-worker' : role}:${imageTag()}`;
      const ended = run('docker', ['run', '--rm', '--memory', '32m', ...LOCKED, image, role]);
      await expect(ended).rejects.toMatchObject({
        code: 78,
        stderr: expect.stringMatching(
          /^The container has 32 MiB of memory, too little to start: raise its memory limit/m,
        ),
      });
    },
  );

  it.each([
    ['web', 'web', 'PORT'],
    ['dashboard', 'dashboard', 'DASHBOARD_PORT'],
    ['object-worker', 'worker:object', 'HEALTH_PORT'],
  ])('says last that its port is taken where it shares the network of the host: %s', async (image, role, setting) => {
    const occupant = createServer();
    await new Promise<void>((done) => occupant.listen(0, done));
    try {
      const { port } = occupant.address() as AddressInfo;
      const options = [
        '--network',
        'host',
        '--tmpfs',
        '/app/uploads',
        '-e',
        'DATA_DIR=/tmp/data',
        '-e',
        `${setting}=${port}`,
      ];
      await expect(
        run('docker', ['run', '--rm', ...options, ...LOCKED, `recognize-${image}:${imageTag()}`, role]),
      ).rejects.toMatchObject({
        stderr: expect.stringMatching(
          new RegExp(`Port ${port}( on \\S+)? is taken\\. Set ${setting} to a free one\\.\\n*$`),
        ),
      });
    } finally {
      occupant.close();
    }
  });

  it('says so where web cannot store uploads', async () => {
    const id = await docker('run', '-d', ...LOCKED, `recognize-web:${imageTag()}`, 'web');
    try {
      const sentence = /EROFS.*"msg":"Not ready: files cannot be stored\. See to UPLOAD_FOLDER/;
      await waitFor('its words', async () => sentence.test(await run('docker', ['logs', id])), { timeoutMs: 30_000 });
    } finally {
      await docker('rm', '-f', id);
    }
  });
});
