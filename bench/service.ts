import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { KIND_NAMES, type Kind } from '../src/contract/kinds.ts';
import { createLog } from '../src/log.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from '../src/supervisor/embedded-redis.ts';
import { childrenOf } from './process-figures.ts';

const ROOT = resolve(import.meta.dirname, '..');
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;

/** Where the weights are that are measured. */
export const MODELS_DIR = resolve(process.env.MODELS_DIR ?? join(ROOT, 'models'));
export const MANIFEST = join(ROOT, 'models', 'manifest.json');

export type ServiceOptions = {
  /** Kinds that get a worker. */
  workers?: readonly Kind[];
  /** Whether the dashboard runs as well. */
  dashboard?: boolean;
  /** Further settings, as a user's environment would give them. */
  environment?: Record<string, string>;
  /** Folder for CPU profiles of web and workers, which are written when they end. */
  profiles?: string | undefined;
};

export type Service = {
  url: string;
  redisUrl: string;
  dashboardUrl: string | undefined;
  pids: { web: number; redis: number; dashboard: number | undefined; workers: Partial<Record<Kind, number>> };
  /** Detection processes of a worker, as they are now. */
  lanes(kind: Kind): number[];
  stop(): Promise<void>;
};

type Role = { name: string; child: ChildProcess; logPath: string; url: string | undefined };

/** Options of Node with which `npm run web` and its like start, and `npm start` its children. */
function nodeOptions(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { web: string } };
  return scripts.web.split(' ').filter((word) => word.startsWith('--'));
}

const running = new Set<() => Promise<void>>();
const folders: string[] = [];

/** Ends every service that still runs, and removes the files of all. */
export async function stopServices(): Promise<void> {
  await Promise.allSettled([...running].map((stop) => stop()));
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
}

function lastLines(path: string): string {
  return readFileSync(path, 'utf8').trim().split('\n').slice(-12).join('\n');
}

async function startRole(
  name: string,
  folder: string,
  environment: Record<string, string>,
  profiles: string | undefined,
): Promise<Role> {
  const logPath = join(folder, `${name.replace(':', '-')}.out`);
  const output = openSync(logPath, 'w');
  const profiling =
    profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(profiles, name.replace(':', '-'))}`];
  const child = spawn(process.execPath, [...nodeOptions(), ...profiling, join(ROOT, 'src/main.ts'), name], {
    // Not the project's folder: a developer's .env must not change what is measured.
    cwd: folder,
    env: environment,
    stdio: ['ignore', output, output, 'ipc'],
  });
  closeSync(output);
  const failed = (why: string) => new Error(`${name} ${why}:\n${lastLines(logPath)}`);
  const ready = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => ready.reject(failed('does not get ready')), READY_LIMIT_MS);
  child.on('message', (message: { ready?: boolean; url?: string }) => {
    if (message.ready === true) ready.resolve(message.url);
  });
  child.once('exit', (code, signal) => ready.reject(failed(`ended at its start (${code ?? signal})`)));
  try {
    return { name, child, logPath, url: await ready.promise };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function stopRole({ child }: Role): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await gone;
  clearTimeout(timer);
}

function pidOf(role: Role): number {
  if (role.child.pid === undefined) throw new Error(`${role.name} has no process`);
  return role.child.pid;
}

/**
 * Starts the real service for a measurement: its own redis-server, web and workers as `npm start` would run them, on a
 * free port, everything in a temporary folder. `stop` leaves the files to {@link stopServices}: on ext4 a new file is
 * slow to make for minutes after many have been deleted, which would be measured with the rest.
 *
 * @throws Error with the last lines of the log where a process does not get ready
 */
export async function startService({
  workers = KIND_NAMES,
  dashboard = false,
  environment = {},
  profiles,
}: ServiceOptions = {}): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'recognize-bench-'));
  folders.push(folder);
  const roles: Role[] = [];
  let redis: EmbeddedRedis | undefined;

  async function stop(): Promise<void> {
    running.delete(stop);
    await Promise.all(roles.map(stopRole));
    await redis?.stop();
  }
  running.add(stop);

  try {
    redis = await startEmbeddedRedis({ dataDir: folder, log: createLog('bench', 'silent').logger });
    const settings = {
      PATH: process.env.PATH ?? '',
      REDIS_URL: redis.url,
      PORT: '0',
      DASHBOARD_PORT: '0',
      DATA_DIR: folder,
      LOG_DIR: join(folder, 'logs'),
      MODELS_DIR,
      ...environment,
    };
    const names = ['web', ...(dashboard ? ['dashboard'] : []), ...workers.map((kind) => `worker:${kind}`)];
    const started = await Promise.allSettled(names.map((name) => startRole(name, folder, settings, profiles)));
    for (const outcome of started) if (outcome.status === 'fulfilled') roles.push(outcome.value);
    for (const outcome of started) if (outcome.status === 'rejected') throw outcome.reason;
    const byName = new Map(roles.map((role) => [role.name, role]));
    const web = byName.get('web');
    const board = byName.get('dashboard');
    if (web?.url === undefined) throw new Error('web did not say where it listens');
    const workerPids = Object.fromEntries(
      workers.flatMap((kind) => {
        const role = byName.get(`worker:${kind}`);
        return role === undefined ? [] : [[kind, pidOf(role)]];
      }),
    ) as Partial<Record<Kind, number>>;
    return {
      url: web.url,
      redisUrl: redis.url,
      dashboardUrl: board?.url,
      pids: { web: pidOf(web), redis: redis.pid, dashboard: board && pidOf(board), workers: workerPids },
      lanes(kind) {
        const worker = workerPids[kind];
        return worker === undefined ? [] : childrenOf(worker, 'lane');
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
