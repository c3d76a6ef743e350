import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { hasEnded, ownChild } from './child.ts';
import { type ProcessEntry, serviceProcesses } from './processes.ts';
import { tempDir } from './temp.ts';
import { waitFor } from './wait-for.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const DEFAULT_MODELS = ['haar', 'yunet', 'yolox_nano'];

export type Role = 'all' | 'web' | 'worker:face' | 'worker:object' | 'dashboard';
export type Exit = { code: number | null; signal: NodeJS.Signals | null };

export type Home = {
  /** The folder with everything of one service, and the working folder of its processes. */
  root: string;
  /** What its processes see of the environment, with ports that were free. */
  environment: Record<string, string>;
};

export type Service = {
  url: string;
  dashboardUrl: string;
  home: Home;
  /** The process that was started: the supervisor, or the single role. */
  pid: number;
  /** Everything written to standard output and error so far. */
  output(): string;
  /** What runs of this service now, itself and Redis included. */
  processes(): ProcessEntry[];
  /** Processes of a role, detection processes ("lane") or Redis. */
  pids(role: Role | 'lane' | 'redis'): number[];
  /** Ends all processes of a role without warning; answers their numbers. */
  kill9(role: Role | 'lane' | 'redis'): number[];
  exited: Promise<Exit>;
  /** Stops it as Ctrl-C in a terminal does: SIGINT to its whole process group. */
  stop(signal?: NodeJS.Signals): Promise<Exit & { ms: number }>;
};

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Runs `npm run models -- pull` into a folder: from ../shared/models and the system's opencv-data. */
export async function pullModels(folder: string, names: readonly string[] = DEFAULT_MODELS): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const script = join(ROOT, 'scripts/models.ts');
  await promisify(execFile)(process.execPath, [script, 'pull', ...names], {
    cwd: folder,
    env: { PATH: process.env.PATH, MODELS_DIR: folder },
  });
}

/** Folders, models and ports for one service; pass it to `startService` again to start it anew on its data. */
export async function makeHome(env: Record<string, string> = {}): Promise<Home> {
  const root = tempDir('svc');
  const environment: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    HOME: root,
    PORT: String(await freePort()),
    DASHBOARD_PORT: String(await freePort()),
    DATA_DIR: join(root, 'data'),
    LOG_DIR: join(root, 'logs'),
    MODELS_DIR: join(root, 'models'),
    ...env,
  };
  if (env.MODELS_DIR === undefined) await pullModels(join(root, 'models'));
  return { root, environment };
}

/** Where the service's own Redis listens. */
export const redisSocketOf = (home: Home) => join(home.root, 'data/redis/redis.sock');

function roleMatcher(role: Role | 'lane' | 'redis'): RegExp {
  if (role === 'lane') return /\/lanes\//;
  if (role === 'redis') return /redis-server/;
  return new RegExp(`src/main\\.ts ${role}$`);
}

/**
 * Starts `node src/main.ts <role>`, by default everything as `npm start` does, and waits until it is ready.
 *
 * @param options.command replaces the program, e.g. `['npm', 'start']`; run in the project's folder
 * @throws Error with its output when it ends instead
 */
export async function startService(
  options: { env?: Record<string, string>; home?: Home; role?: Role; command?: [string, ...string[]] } = {},
): Promise<Service> {
  const { role = 'all' } = options;
  const home = options.home ?? (await makeHome(options.env));
  const environment = options.home === undefined ? home.environment : { ...home.environment, ...options.env };
  const [program, ...args] = options.command ?? [process.execPath, join(ROOT, 'src/main.ts'), role];
  const child = ownChild(
    spawn(program, args, {
      cwd: options.command === undefined ? home.root : ROOT,
      env: environment,
      // A process group of its own, as a terminal gives to what is typed into it.
      detached: true,
      stdio: role === 'all' ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'pipe', 'pipe', 'ipc'],
    }),
  );
  const exited = new Promise<Exit>((done, failed) => {
    child.once('error', failed);
    child.once('exit', (code, signal) => done({ code, signal }));
  });
  exited.catch(() => undefined);
  let output = '';
  let ready = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  child.on('message', () => {
    ready = true;
  });

  await waitFor(
    `${role} to be ready`,
    () => {
      if (hasEnded(child)) return 'ended';
      return ready || /^Recognize is ready/m.test(output) ? 'ready' : undefined;
    },
    { timeoutMs: 60_000 },
  ).catch((error: Error) => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    throw new Error(`${error.message} It said:\n${output}`);
  });
  const { pid } = child;
  if (pid === undefined || hasEnded(child)) {
    throw new Error(`${role} ended at its start. It said:\n${output}`);
  }

  const processes = () => serviceProcesses(home.root);
  const pids: Service['pids'] = (wanted) =>
    processes()
      .filter(({ command }) => roleMatcher(wanted).test(command))
      .map((entry) => entry.pid);
  return {
    url: `http://127.0.0.1:${environment.PORT}`,
    dashboardUrl: `http://127.0.0.1:${environment.DASHBOARD_PORT}`,
    home,
    pid,
    output: () => output,
    processes,
    pids,
    kill9(wanted) {
      const found = pids(wanted);
      for (const number of found) process.kill(number, 'SIGKILL');
      return found;
    },
    exited,
    async stop(signal = 'SIGINT') {
      const startedAt = performance.now();
      if (!hasEnded(child)) process.kill(-pid, signal);
      const exit = await exited;
      return { ...exit, ms: performance.now() - startedAt };
    },
  };
}

/** Runs the service where it is expected to end by itself; answers how, and what it said. */
export async function runToEnd(home: Home, env: Record<string, string>, role: Role = 'all') {
  const child = ownChild(
    spawn(process.execPath, [join(ROOT, 'src/main.ts'), role], {
      cwd: home.root,
      env: { ...home.environment, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}
