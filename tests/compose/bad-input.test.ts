import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../support/wait-for.ts';
import { createStack, docker, HAS_V2, imageTag, type Stack } from './stack.ts';

describe('wrong settings of the stack', () => {
  let stack: Stack;
  let occupant: Server;
  let said = '';

  beforeAll(async () => {
    stack = await createStack(HAS_V2 ? 2 : 1, {
      REDIS_PASSWORD: 'abc123',
      DASHBOARD_USER: 'admin',
      DASHBOARD_PASSWORD: 'changeme',
      FACE_WORKER_MEMORY: '128M',
    });
    occupant = createServer();
    await new Promise<void>((done) => occupant.listen(Number(new URL(stack.url).port), '127.0.0.1', done));
    said = await stack.compose('up', '-d').catch((error: { stderr: string }) => error.stderr);
  });
  afterAll(async () => {
    occupant?.close();
    await stack?.down();
  });

  /** The last line in the log of a service's first container. */
  async function lastLine(service: string): Promise<string> {
    const [container] = await stack.containers(service);
    if (container === undefined) throw new Error(`There is no container of ${service}.`);
    return (await stack.logs(container)).trim().split('\n').at(-1) ?? '';
  }

  it.each([
    ['redis', /^Wrong setting: REDIS_PASSWORD is shorter than 12 characters\. .*npm run secrets/],
    ['dashboard', /^Wrong setting: DASHBOARD_PASSWORD is one of those that are tried first\. .*npm run secrets/],
    ['face-worker', /^The worker has 128 MiB of memory, too little to load a model: raise its memory limit to \d+ MiB/],
  ])('are told in the last line of the log of %s', async (service, sentence) => {
    await waitFor('its last words', async () => sentence.test(await lastLine(service)), { timeoutMs: 30_000 });
  });

  it('name a port that is taken', () => {
    expect(said).toContain(`${new URL(stack.url).port}`);
    expect(said).toMatch(/already (in use|allocated)/);
  });

  it('leave the others running', async () => {
    const workers = await stack.containers('object-worker');
    expect(workers.map(({ State }) => State.Status)).toEqual(['running', 'running']);
  });

  it('include a missing model: the worker waits for it and says what fetches it', async () => {
    const network = `${stack.project}_back`;
    const settings = ['-e', 'REDIS_URL=redis://:secret-of-this-test@spare:6379', '-e', 'LOG_DIR=/tmp'];
    const spare = await docker(
      ...['run', '-d', '--rm', '--network', network, '--network-alias', 'spare', 'redis:7-alpine'],
      ...['redis-server', '--requirepass', 'secret-of-this-test'],
    );
    const worker = await docker(
      ...['run', '-d', '--rm', '--network', network, '--tmpfs', '/models', ...settings],
      ...[`recognize-worker:${imageTag()}`, 'worker:object'],
    );
    try {
      await waitFor('its advice', async () => /npm run models -- pull/.test(await docker('logs', worker)), {
        timeoutMs: 30_000,
      });
      const last = (await docker('logs', worker)).split('\n').at(-1) ?? '';
      expect(JSON.parse(last)).toMatchObject({ reason: 'no model', msg: expect.stringContaining('up models') });
    } finally {
      await docker('rm', '-f', spare, worker);
    }
  });
});
