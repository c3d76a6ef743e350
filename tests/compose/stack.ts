import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ENVIRONMENT_NAMES } from '../../src/config.ts';
import { sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
const FILE = 'docker-compose.scalable.yml';

const exec = promisify(execFile);

/** Runs a program in the project's folder; answers what it said on both outputs. */
export async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout, stderr } = await exec(program, args, {
    cwd: ROOT,
    env: { ...process.env, COMPOSE_PROGRESS: 'plain', ...env },
    maxBuffer: 64 * 2 ** 20,
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
  State: { Status: string; ExitCode: number; OOMKilled: boolean };
  Config: { User: string; StopTimeout?: number; Labels: Record<string, string>; Env: string[] };
  HostConfig: {
    NanoCpus: number;
    Memory: number;
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    CapAdd: string[] | null;
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
  /** Names and contents of the log files. */
  logFiles(): Map<string, string>;
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
 */
export async function createStack(version: 1 | 2, settings: Record<string, string> = {}): Promise<Stack> {
  const project = `r${imageTag()}v${version}${Math.random().toString(36).slice(2, 6)}`;
  const logFolder = join(tempDir('logs'), 'logs');
  mkdirSync(logFolder);
  const [web, dashboard, balancer] = await Promise.all([freePort(), freePort(), freePort()]);
  const environment: Record<string, string> = {
    // An .env of whoever runs the tests has no say.
    ...Object.fromEntries([...ENVIRONMENT_NAMES, 'REDIS_PASSWORD'].map((name) => [name, ''])),
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
  const [program = '', ...first] = [...words, '-p', project, '-f', FILE];
  const composeWith = (changes: Record<string, string>) => ({
    compose: (...args: string[]) => run(program, [...first, ...args], { ...environment, ...changes }),
  });
  const { compose } = composeWith({});
  return {
    project,
    environment,
    url: `http://127.0.0.1:${web}`,
    dashboardUrl: `http://127.0.0.1:${dashboard}`,
    balancerUrl: `http://127.0.0.1:${balancer}`,
    logFolder,
    compose,
    withSettings: composeWith,
    async containers(service) {
      const filter = ['--filter', `label=com.docker.compose.project=${project}`];
      if (service !== undefined) filter.push('--filter', `label=com.docker.compose.service=${service}`);
      const ids = (await docker('ps', '-aq', ...filter)).split('\n').filter(Boolean);
      if (ids.length === 0) return [];
      const found = JSON.parse(await docker('inspect', ...ids)) as ContainerInfo[];
      return found.sort((a, b) => a.Name.localeCompare(b.Name, 'en', { numeric: true }));
    },
    logs: (container) => run('docker', ['logs', container.Id]),
    logFiles: () =>
      new Map(readdirSync(logFolder).map((name) => [name, readFileSync(join(logFolder, name), 'utf8')] as const)),
    async down() {
      await compose('--profile', 'lb', 'down', '-v', '--remove-orphans', '-t', '5');
    },
  };
}

export async function removeImages(tag: string): Promise<void> {
  for (const name of ['web', 'worker']) await docker('image', 'rm', '-f', `recognize-${name}:${tag}`).catch(() => '');
}
