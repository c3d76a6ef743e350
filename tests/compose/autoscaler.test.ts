import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createComposeDriver } from '../../src/autoscale/compose-driver.ts';
import { connectEngine } from '../../src/autoscale/docker-engine.ts';
import { tempDir } from '../support/temp.ts';

/** Ends a second after it was told to, as a worker that still has a task. */
const DRAINING = `
process.on('SIGTERM', () => setTimeout(() => { console.log('drained'); process.exit(0); }, 1000));
console.log('ready'); setInterval(() => {}, 1000);`;

const COMPOSE = `
version: "3.8"
services:
  face-worker:
    image: node:24-trixie-slim
    init: true
    command: ["node", "-e", ${JSON.stringify(DRAINING.replaceAll('\n', ' '))}]
    environment: {WHO: a worker}
    stop_grace_period: 20s
    restart: unless-stopped
    read_only: true
    mem_limit: 200m
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    networks: [back, other]
    volumes: ["data:/data"]
    tmpfs: ["/tmp:size=1m"]
  object-worker:
    image: node:24-trixie-slim
    command: ["sleep", "600"]
    networks: [back]
networks:
  back: {internal: true}
  other: {internal: true}
volumes: {data: {}}
`;

const exec = promisify(execFile);

async function docker(...args: string[]): Promise<string> {
  return (await exec('docker', args)).stdout.trim();
}

const VERSIONS: [name: string, program: string, first: string[]][] = [
  ['Compose 2', 'docker', ['compose']],
  ['docker-compose 1.29', 'docker-compose', []],
];

/** Those that this machine has; one at least. */
async function installed(): Promise<typeof VERSIONS> {
  const works = ([, program, first]: (typeof VERSIONS)[number]) =>
    exec(program, [...first, 'version']).then(
      () => true,
      () => false,
    );
  const has = await Promise.all(VERSIONS.map(works));
  const found = VERSIONS.filter((_, index) => has[index]);
  if (found.length === 0) throw new Error('There is no Compose on this machine.');
  return found;
}

describe.each(await installed())('the autoscaler and %s', (_name, program, first) => {
  const project = `rt-autoscale-${randomBytes(4).toString('hex')}`;
  const engine = connectEngine('/var/run/docker.sock');
  const driver = createComposeDriver(engine, project, 30, pino({ level: 'silent' }));
  let folder: string;

  async function compose(...args: string[]): Promise<string> {
    const { stdout } = await exec(program, [...first, '-p', project, '-f', join(folder, 'compose.yml'), ...args]);
    return stdout.trim();
  }

  /** Names of the containers of the face workers that run. */
  async function names(): Promise<string[]> {
    const filters = ['--filter', `label=com.docker.compose.project=${project}`];
    const listed = await docker(
      'ps',
      ...filters,
      '--filter',
      'label=com.docker.compose.service=face-worker',
      '--format',
      '{{.Names}}',
    );
    return listed.split('\n').filter(Boolean).sort();
  }

  const ids = async () => (await compose('ps', '-q', 'face-worker')).split('\n').filter(Boolean);

  beforeAll(async () => {
    folder = tempDir('compose');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'compose.yml'), COMPOSE);
    await compose('up', '-d', '--scale', 'face-worker=2');
  });

  afterAll(async () => {
    await driver.idle();
    await compose('down', '-v', '-t', '5');
    const left = await docker('ps', '-aq', '--filter', `label=com.docker.compose.project=${project}`);
    const networks = await docker('network', 'ls', '-q', '--filter', `label=com.docker.compose.project=${project}`);
    expect([left, networks]).toEqual(['', '']);
  });

  it('adds containers like those that run', async () => {
    expect(await driver.count('face')).toBe(2);
    await driver.scale('face', 4);
    expect(await driver.count('face')).toBe(4);
    expect((await names()).map((name) => name.replace(/[-_]\d+$/, ''))).toEqual(
      Array(4).fill(program === 'docker' ? `${project}-face-worker` : `${project}_face-worker`),
    );
    expect((await names()).map((name) => /\d+$/.exec(name)?.[0])).toEqual(['1', '2', '3', '4']);

    const [one, four] = await Promise.all(
      ['1', '4'].map(async (number) => {
        const name = (await names()).find((text) => new RegExp(`[-_]${number}$`).test(text)) ?? '';
        return JSON.parse(await docker('inspect', name))[0];
      }),
    );
    expect(four.Image).toBe(one.Image);
    expect(four.Config.Env).toEqual(one.Config.Env);
    expect(four.Config.Cmd).toEqual(one.Config.Cmd);
    expect(four.HostConfig).toEqual(one.HostConfig);
    expect(four.HostConfig.Memory).toBe(200 * 2 ** 20);
    expect(four.Config.Labels).toEqual({ ...one.Config.Labels, 'com.docker.compose.container-number': '4' });
    expect(Object.keys(four.NetworkSettings.Networks).sort()).toEqual(Object.keys(one.NetworkSettings.Networks).sort());
    for (const network of Object.values<{ Aliases: string[] }>(four.NetworkSettings.Networks)) {
      expect(network.Aliases).toContain('face-worker');
      expect(network.Aliases.some((alias) => one.Id.startsWith(alias))).toBe(false);
    }
    expect(four.Config.Hostname).toBe(four.Id.slice(0, 12));
    expect(four.Mounts.map(({ Name, Destination }: Record<string, string>) => [Name, Destination])).toEqual(
      one.Mounts.map(({ Name, Destination }: Record<string, string>) => [Name, Destination]),
    );
  });

  it('lets the newest drain and removes them, also those of Compose', async () => {
    const before = await ids();
    const watched = (await names()).filter((name) => /[234]$/.test(name));
    const logs = watched.map((name) => docker('logs', '-f', name));
    await driver.scale('face', 1);
    // Those on their way out do not count any more, and are not told twice.
    expect(await driver.count('face')).toBe(1);
    await driver.scale('face', 1);
    await driver.idle();
    for (const log of await Promise.all(logs)) expect(log).toBe('ready\ndrained');
    expect((await names()).map((name) => /\d+$/.exec(name)?.[0])).toEqual(['1']);
    expect(await ids()).toHaveLength(1);
    expect(before).toHaveLength(4);
  });

  it('lives with --scale: Compose takes its containers for its own', async () => {
    await driver.scale('face', 3);
    const added = await ids();
    await compose('up', '-d', '--scale', 'face-worker=4');
    expect(await driver.count('face')).toBe(4);
    expect((await ids()).filter((id) => added.includes(id))).toHaveLength(3);
    await compose('up', '-d', '--scale', 'face-worker=2');
    expect(await driver.count('face')).toBe(2);
    await driver.scale('face', 3);
    expect((await names()).map((name) => /\d+$/.exec(name)?.[0])).toHaveLength(3);
    expect(await driver.count('object')).toBe(1);
  });

  it('starts none where Compose runs none', async () => {
    await compose('stop', '-t', '5', 'object-worker');
    expect(await driver.count('object')).toBe(0);
    await expect(driver.scale('object', 2)).rejects.toThrow('no container of object-worker runs');
  });
});
