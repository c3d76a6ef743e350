import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectWorkers, FACES, serviceHealth } from './load.ts';
import { createStack, docker, imageTag, type Stack, VERSIONS } from './stack.ts';

/** Takes OTLP over HTTP and says from which services spans come. */
const COLLECTOR = `require('node:http').createServer(async (request, response) => {
  const { resourceSpans } = JSON.parse(Buffer.concat(await request.toArray()));
  for (const { resource } of resourceSpans)
    console.log(resource.attributes.find(({ key }) => key === 'service.name').value.stringValue);
  response.end('{}');
}).listen(4318)`;

describe.skipIf(!requireShared()).each(VERSIONS)('the stack of Compose %i', (version) => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(version, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' });
    await stack.compose('up', '-d', '--scale', 'face-worker=3');
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    await Promise.all([expectWorkers(stack.url, 'face', 3), expectWorkers(stack.url, 'object', 2)]);
  });
  afterAll(async () => {
    await stack?.down();
  });

  it('gives a result', async () => {
    const id = await submit(stack.url, 'face/image', { file: FACES() });
    const task = await taskIn(stack.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 });
    expect(task.result).toMatchObject({ faces_detected: 1, model: 'yunet' });
  });

  it('is healthy in every part', async () => {
    await stack.expectHealthy(['redis', 'web', 'dashboard', 'face-worker', 'object-worker']);
  });

  it('has small images that run as an ordinary user', async () => {
    const size = async (name: string) => Number(await docker('image', 'inspect', '-f', '{{.Size}}', name));
    const base = await size('node:24-trixie-slim');
    expect(((await size(`recognize-web:${imageTag()}`)) - base) / 1e6).toBeLessThan(350);
    expect(((await size(`recognize-face-worker:${imageTag()}`)) - base) / 1e6).toBeLessThan(450);
    for (const name of ['web', 'models', 'dashboard', 'autoscaler', 'face-worker', 'object-worker']) {
      const [image] = JSON.parse(await docker('image', 'inspect', `recognize-${name}:${imageTag()}`)) as [
        { Config: { User: string; Healthcheck: object; Labels: Record<string, string> } },
      ];
      expect(image.Config.User).toBe('node');
      expect(image.Config.Healthcheck).toBeDefined();
      expect(image.Config.Labels['org.opencontainers.image.licenses']).toBe('Apache-2.0');
    }
  });

  it('limits, locks down and separates the containers', async () => {
    const networks = (names: string[]) => names.map((name) => `${stack.project}_${name}`).sort();
    const expected: Record<string, { count: number; cores?: number; gigabytes?: number; networks: string[] }> = {
      redis: { count: 1, networks: ['back'] },
      web: { count: 1, networks: ['back', 'front'] },
      dashboard: { count: 1, networks: ['back', 'front'] },
      'face-worker': { count: 3, cores: 1, gigabytes: 2, networks: ['back'] },
      'object-worker': { count: 2, cores: 2, gigabytes: 4, networks: ['back'] },
    };
    for (const [service, { count, cores = 0, gigabytes = 0, networks: names }] of Object.entries(expected)) {
      const containers = await stack.containers(service);
      expect(containers, service).toHaveLength(count);
      for (const { HostConfig, Config, NetworkSettings } of containers) {
        expect(HostConfig).toMatchObject({
          NanoCpus: cores * 1e9,
          Memory: gigabytes * 2 ** 30,
          ReadonlyRootfs: true,
          CapDrop: ['ALL'],
          CapAdd: null,
          RestartPolicy: { Name: 'unless-stopped' },
        });
        expect(HostConfig.SecurityOpt).toContain('no-new-privileges:true');
        expect(['node', '999']).toContain(Config.User);
        expect(Object.keys(NetworkSettings.Networks).sort()).toEqual(networks(names));
      }
    }
    const all = await stack.containers();
    const published = all.flatMap(({ HostConfig }) => Object.values(HostConfig.PortBindings ?? {}).flat());
    expect(published.map((binding) => binding?.HostIp)).toEqual(['127.0.0.1', '127.0.0.1']);
    expect(await docker('network', 'inspect', '-f', '{{.Internal}}', `${stack.project}_back`)).toBe('true');
    const [root] = await stack.containers('models');
    expect(root?.HostConfig.CapAdd?.toSorted()).toEqual(['CHOWN', 'DAC_OVERRIDE', 'FOWNER']);
    // As many slots as cores: one each of the face workers, two of the object workers on a machine that has them.
    expect((await serviceHealth(stack.url, 'face')).slots).toBe(3);
    const cores = Number(await docker('info', '-f', '{{.NCPU}}'));
    expect((await serviceHealth(stack.url, 'object')).slots).toBe(2 * Math.min(2, cores));
  });

  it('sends traces to a collector that has joined the internal network', async () => {
    const network = ['--network', `${stack.project}_back`, '--network-alias', 'collector'];
    const collector = await docker('run', '-d', '--rm', ...network, 'node:24-trixie-slim', 'node', '-e', COLLECTOR);
    try {
      const id = await submit(stack.url, 'object/image', { file: FACES() });
      await taskIn(stack.url, id, ['SUCCESS'], { timeoutMs: 60_000 });
      const told = async () => (await docker('logs', collector)).split('\n');
      for (const service of ['recognize-web', 'recognize-object-worker']) {
        await waitFor(`a span of ${service}`, async () => (await told()).includes(service), { timeoutMs: 30_000 });
      }
      expect(await docker('network', 'inspect', '-f', '{{.Internal}}', `${stack.project}_back`)).toBe('true');
    } finally {
      await docker('rm', '-f', collector);
    }
  });

  it('writes a log for each worker, owned by the user of the services', async () => {
    await waitFor('five logs', () => stack.logFiles().size >= 5, { timeoutMs: 15_000 });
    const names = ['face_worker_1', 'face_worker_2', 'face_worker_3', 'object_worker_1', 'object_worker_2'];
    expect([...stack.logFiles().keys()].filter((name) => name !== '.gitkeep').sort()).toEqual(
      names.map((name) => `${name}.log`),
    );
    for (const name of names) {
      expect(statSync(`${stack.logFolder}/${name}.log`).uid).toBe(1000);
      expect(stack.logFiles().get(`${name}.log`)).toContain('"msg":"worker ready"');
    }
  });

  it('warns of the default password of Redis, and makes one for the dashboard once', async () => {
    const [redis] = await stack.containers('redis');
    const [dashboard] = await stack.containers('dashboard');
    if (redis === undefined || dashboard === undefined) throw new Error('Redis or dashboard is missing.');
    expect(await stack.logs(redis)).toMatch(/^Warning: REDIS_PASSWORD is not set.*npm run secrets/m);
    expect(await docker('exec', redis.Id, 'redis-cli', 'ping')).toMatch(/NOAUTH/);
    const password = /password (\S+) \(shown this once\)/.exec(await stack.logs(dashboard))?.[1];
    const login = { authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` };
    expect((await fetch(`${stack.dashboardUrl}/`)).status).toBe(401);
    expect((await fetch(`${stack.dashboardUrl}/`, { headers: login })).status).toBe(200);
    await stack.compose('restart', 'dashboard');
    await waitFor('the dashboard', async () => (await fetch(`${stack.dashboardUrl}/`, { headers: login })).ok, {
      timeoutMs: 30_000,
    });
    expect((await stack.logs(dashboard)).match(/shown this once/g)).toHaveLength(1);
  });

  it('prepares the volumes once only, and gets further models when it is told to', async () => {
    const [models] = await stack.containers('models');
    if (models === undefined) throw new Error('The container that prepares the volumes is gone.');
    const count = async (what: RegExp) => (await stack.logs(models)).match(what)?.length ?? 0;
    expect(await count(/^yunet: got it from /gm)).toBe(1);
    const notes = await count(/^Note: /gm);
    await stack.compose('up', '-d', '--scale', 'face-worker=3');
    expect(await count(/^The volumes are ready\.$/gm)).toBe(2);
    expect(await count(/^Note: /gm)).toBe(notes);
    const again = await stack.compose('run', '--rm', 'models', 'pull', 'yunet_s');
    expect(again).toMatch(/^yunet_s: got it from \/mirror/m);
    expect(await stack.compose('run', '--rm', 'models', 'list')).toMatch(/^yunet_s +face +ready/m);
  });

  it('leaves nothing behind', async () => {
    await stack.down();
    const label = `label=com.docker.compose.project=${stack.project}`;
    for (const kind of ['container', 'volume', 'network']) {
      const all = kind === 'container' ? ['-a'] : [];
      expect(await docker(kind, 'ls', '-q', ...all, '--filter', label), kind).toBe('');
    }
  });
});
