import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ENVIRONMENT_NAMES } from '../../src/config.ts';
import { sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
const FILE = 'docker-compose.scalable.yml';

const exec = promisify(execFile);

/** Builds on a busy machine take minutes; what goes on for ever, such as a plain `up`, is ended. */
const LONGEST_COMMAND_MS = 500_000;

/** Runs a program in the project's folder; answers what it said on both outputs. */
export async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout, stderr } = await exec(program, args, {
    cwd: ROOT,
    env: { ...process.env, COMPOSE_PROGRESS: 'plain', ...env },
    maxBuffer: 64 * 2 ** 20,
    timeout: LONGEST_COMMAND_MS,
    killSignal: 'SIGINT',
  });
  return stdout + stderr;
}

export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await exec('docker', args, { maxBuffer: 64 * 2 ** 20 });
  return stdout.trim();
}

async function works(program: string, ...args: string[]): Promise<boolean> {
  return exec(program, args).then(
    () => true,
    () => false,
  );
}

export const HAS_V2 = await works('docker', 'compose', 'version');
export const HAS_V1 =
  (await works('docker-compose', 'version')) && /1\.\d+\.\d/.test(await run('docker-compose', ['--version']));

/** Those of Compose that this machine has. */
export const VERSIONS = [...(HAS_V2 ? [2 as const] : []), ...(HAS_V1 ? [1 as const] : [])];

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address ? done(address.port) : fail(new Error('no port'))));
    });
  });
}

export type ContainerInfo = {
  Id: string;
  Name: string;
  RestartCount: number;
  State: { Status: string; ExitCode: number; OOMKilled: boolean; Health?: { Status: string } };
  Config: { User: string; StopTimeout?: number; Labels: Record<string, string>; Env: string[] };
  HostConfig: {
    NanoCpus: number;
    Memory: number;
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    CapAdd: string[] | null;
    GroupAdd: string[] | null;
    SecurityOpt: string[] | null;
    RestartPolicy: { Name: string };
    PortBindings: Record<string, { HostIp: string; HostPort: string }[] | null> | null;
  };
  NetworkSettings: { Networks: Record<string, { NetworkID: string }> };
};

export type Stack = {
  project: string;
  environment: Record<string, string>;
  url: string;
  dashboardUrl: string;
  balancerUrl: string;
  logFolder: string;
  compose(...args: string[]): Promise<string>;
  /** The same stack with other settings. */
  withSettings(changes: Record<string, string>): { compose(...args: string[]): Promise<string> };
  /** The containers of a service by number; the others by name, those that ended included. */
  containers(service?: string): Promise<ContainerInfo[]>;
  logs(container: ContainerInfo): Promise<string>;
  /** The last line in the log of a service's first container. */
  lastLine(service: string): Promise<string>;
  /** Names and contents of the log files. */
  logFiles(): Map<string, string>;
  /** Waits until the healthchecks of all containers of these services have succeeded. */
  expectHealthy(services: readonly string[]): Promise<void>;
  down(): Promise<void>;
};

/** What the images of this run are tagged with. */
export const imageTag = () => process.env.RECOGNIZE_TEST_TAG ?? 'latest';

/** Models that are on this machine, so that the tests need no internet. */
const mirror = () => (existsSync(sharedPath('models')) ? sharedPath('models') : join(ROOT, 'models'));

/**
 * A stack of a name, ports, folders and volumes of its own, so that others on the machine are not touched.
 *
 * @param version of Compose: 2 is `docker compose`, 1 is `docker-compose`
 * @param override a Compose file of changes
 */
export async function createStack(
  version: 1 | 2,
  settings: Record<string, string> = {},
  override?: string,
): Promise<Stack> {
  const project = `r${imageTag()}v${version}${Math.random().toString(36).slice(2, 6)}`;
  const logFolder = join(tempDir('logs'), 'logs');
  mkdirSync(logFolder);
  const [web, dashboard, balancer] = await Promise.all([freePort(), freePort(), freePort()]);
  const environment: Record<string, string> = {
    // An .env of whoever runs the tests has no say.
    ...Object.fromEntries(
      [...ENVIRONMENT_NAMES, 'REDIS_PASSWORD', 'DOCKER_GID', 'DOCKER_SOCKET'].map((name) => [name, '']),
    ),
    COMPOSE_PROJECT_NAME: project,
    IMAGE_TAG: imageTag(),
    LOG_FOLDER: logFolder,
    MODELS_MIRROR_FOLDER: mirror(),
    WEB_PORT: String(web),
    DASHBOARD_PORT: String(dashboard),
    LB_PORT: String(balancer),
    ...settings,
  };
  const words = version === 2 ? ['docker', 'compose'] : ['docker-compose'];
  const [program = '', ...first] = [
    ...words,
    '-p',
    project,
    '-f',
    FILE,
    ...(override === undefined ? [] : ['-f', override]),
  ];
  const composeWith = (changes: Record<string, string>) => ({
    compose: (...args: string[]) => run(program, [...first, ...args], { ...environment, ...changes }),
  });
  const { compose } = composeWith({});
  const logs = (container: ContainerInfo) => run('docker', ['logs', container.Id]);

  async function containers(service?: string): Promise<ContainerInfo[]> {
    const filter = ['--filter', `label=com.docker.compose.project=${project}`];
    if (service !== undefined) filter.push('--filter', `label=com.docker.compose.service=${service}`);
    const ids = (await docker('ps', '-aq', ...filter)).split('\n').filter(Boolean);
    if (ids.length === 0) return [];
    const found = JSON.parse(await docker('inspect', ...ids)) as ContainerInfo[];
    return found.sort((a, b) => a.Name.localeCompare(b.Name, 'en', { numeric: true }));
  }

  return {
    project,
    environment,
    url: `http://127.0.0.1:${web}`,
    dashboardUrl: `http://127.0.0.1:${dashboard}`,
    balancerUrl: `http://127.0.0.1:${balancer}`,
    logFolder,
    compose,
    withSettings: composeWith,
    containers,
    logs,
    async lastLine(service) {
      const [container] = await containers(service);
      if (container === undefined) throw new Error(`There is no container of ${service}.`);
      return (await logs(container)).trim().split('\n').at(-1) ?? '';
    },
    logFiles: () =>
      new Map(readdirSync(logFolder).map((name) => [name, readFileSync(join(logFolder, name), 'utf8')] as const)),
    async expectHealthy(services) {
      for (const service of services) {
        await waitFor(
          `${service} to be healthy`,
          async () => {
            const found = await containers(service);
            return found.length > 0 && found.every(({ State }) => State.Health?.Status === 'healthy');
          },
          { timeoutMs: 60_000, intervalMs: 500 },
        );
      }
    },
    async down() {
      await compose('--profile', 'lb', '--profile', 'autoscale', 'down', '-v', '--remove-orphans', '-t', '5');
    },
  };
}

export async function removeImages(tag: string): Promise<void> {
  const ours = ['--filter', `reference=recognize-*:${tag}`, '--format', '{{.Repository}}:{{.Tag}}'];
  const images = await docker('image', 'ls', ...ours);
  for (const image of images.split('\n').filter(Boolean)) await docker('image', 'rm', '-f', image).catch(() => '');
}
