import { once } from 'node:events';
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectEngine } from '../../../src/autoscale/docker-engine.ts';
import { engineTrouble } from '../../../src/autoscale/engine-trouble.ts';
import { tempDir } from '../../support/temp.ts';

describe('an engine that cannot be asked', () => {
  const folder = tempDir('engine');
  const socket = join(folder, 'docker.sock');
  let server: Server;
  let gid: number;

  beforeAll(async () => {
    server = createServer().listen(socket);
    await once(server, 'listening');
    chmodSync(socket, 0o660);
    gid = statSync(socket).gid;
  });
  afterAll(() => {
    server.close();
  });

  it('is for a group: says which DOCKER_GID to set', async () => {
    const message = await engineTrouble(socket, 'EACCES', [gid + 1]);
    expect(message).toContain(`set DOCKER_GID=${gid} in .env`);
    expect(message).toContain('npm run secrets');
  });

  it('lets no group in, or not even this one: no DOCKER_GID would help', async () => {
    expect(await engineTrouble(socket, 'EACCES', [gid])).toContain('nobody in but its owner');
    chmodSync(socket, 0o600);
    expect(await engineTrouble(socket, 'EPERM', [gid + 1])).not.toContain('DOCKER_GID');
    chmodSync(socket, 0o660);
  });

  it('has no socket there, or something else', async () => {
    expect(await engineTrouble(join(folder, 'none'), 'ENOENT')).toMatch(/no engine's socket.*DOCKER_SOCKET/);
    mkdirSync(join(folder, 'made-by-the-engine'));
    const path = join(folder, 'made-by-the-engine');
    const code = await connectEngine(path)
      .inspect('self')
      .catch((error: NodeJS.ErrnoException) => error.code ?? '');
    expect(await engineTrouble(path, String(code))).toMatch(/is no socket of an engine\. Set DOCKER_SOCKET/);
  });

  it('does not listen, or does not know the container', async () => {
    expect(await engineTrouble(socket, 'ECONNREFUSED')).toMatch(/^No engine listens at .*start it/);
    expect(await engineTrouble(socket, 'No such container: box')).toMatch(/must run in a container.*No such container/);
  });
});
