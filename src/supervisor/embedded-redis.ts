import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { makeFolder } from '../make-folder.ts';
import { identifyProcess } from '../process-identity.ts';
import { askRedis, socketPathFor } from './redis-socket.ts';

export type EmbeddedRedis = {
  /** `unix:///...`, as REDIS_URL takes it; the same for the same data folder. */
  url: string;
  pid: number;
  /** Lets it write its file to disk and end; SIGKILL after three seconds. Safe to call twice. */
  stop(): Promise<void>;
  /** Calls back once when it ends without having been stopped. */
  onExit(callback: (reason: string) => void): void;
};

const STOP_MS = 3000;
const POLL_MS = 20;

type Place = { folder: string; socket: string; pidFile: string };

function redisArguments({ folder, socket, pidFile }: Place): string[] {
  return [
    ['--port', '0'],
    ['--unixsocket', socket],
    ['--unixsocketperm', '700'],
    ['--dir', folder],
    ['--pidfile', pidFile],
    ['--daemonize', 'no'],
    ['--save', ''],
    ['--appendonly', 'yes'],
    ['--appendfsync', 'everysec'],
    ['--maxmemory-policy', 'noeviction'],
  ].flat();
}

async function waitUntil(done: () => boolean | Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!(await done())) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** The process of an earlier run on this folder; only one that provably works in it. */
async function leftoverPid({ folder, pidFile }: Place): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(pidFile, 'utf8')).trim());
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    const workingFolder = await readlink(`/proc/${pid}/cwd`);
    return command.includes('redis-server') && workingFolder === (await realpath(folder)) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the Redis that a killed supervisor left behind: two on one append-only file would destroy it. */
async function endLeftover(place: Place, log: Logger): Promise<void> {
  const pid = await leftoverPid(place);
  const listens = () =>
    askRedis(place.socket, 'PING', 1000).then(
      () => true,
      () => false,
    );
  const answers = await listens();
  if (pid === undefined && !answers) return;
  log.warn({ redis_pid: pid }, 'the Redis of an earlier run is still there; ending it first');
  if (answers) await askRedis(place.socket, 'SHUTDOWN NOSAVE', STOP_MS).catch(() => undefined);
  else if (pid !== undefined) process.kill(pid, 'SIGTERM');
  const gone = async () => (pid === undefined || identifyProcess(pid) === undefined) && !(await listens());
  if (await waitUntil(gone, STOP_MS)) return;
  if (pid !== undefined && identifyProcess(pid) !== undefined) process.kill(pid, 'SIGKILL');
  if (!(await waitUntil(gone, STOP_MS))) {
    throw new StartError(`A redis-server of an earlier run still works in ${place.folder} and does not end.`);
  }
}

function launch(place: Place): Promise<{ child: ChildProcess; pid: number }> {
  return new Promise((resolve, reject) => {
    // A session of its own: Ctrl-C in the terminal must not end it before the workers have written their results.
    const child = spawn('redis-server', redisArguments(place), { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    child.once('spawn', () => resolve({ child, pid: Number(child.pid) }));
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new StartError(
          error.code === 'ENOENT'
            ? 'redis-server is not installed. Run `npm run setup`, or set REDIS_URL to a Redis of your own.'
            : `redis-server cannot be started: ${error.message}.`,
        ),
      ),
    );
  });
}

/** Redis' own log lines look like "123:M 23 Nov 2026 18:00:00.000 # text"; `#` marks what matters. */
const LOG_LINE = /^\d+:\w \d+ \w+ \d+ [\d:.]+ ([.\-*#]) (.*)$/;

/**
 * Starts the system's redis-server on `<dataDir>/redis`: append-only file flushed every second, nothing evicted, no TCP
 * port, a Unix socket for this user alone. Resolves when it has loaded its data and answers.
 *
 * A Redis left over on the same folder is ended first; a cut-off last record, as a power failure leaves it, is dropped
 * by Redis itself.
 *
 * @param signal ends the start early; the promise then rejects with its reason
 * @throws StartError when redis-server is missing or cannot load its data
 */
export async function startEmbeddedRedis({
  dataDir,
  log,
  signal,
}: {
  dataDir: string;
  log: Logger;
  signal?: AbortSignal;
}): Promise<EmbeddedRedis> {
  const folder = join(dataDir, 'redis');
  makeFolder(folder, 0o700);
  const place = { folder, socket: await socketPathFor(folder), pidFile: join(folder, 'redis.pid') };
  await endLeftover(place, log);
  signal?.throwIfAborted();

  const { child, pid } = await launch(place);
  let state: 'starting' | 'running' | 'stopping' | 'ended' = 'starting';
  let lastWords = '';
  let tellExit: ((reason: string) => void) | undefined;
  let exitReason: string | undefined;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const endWithUs = () => child.kill('SIGTERM');
  process.on('exit', endWithUs);

  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      const [, mark, text] = LOG_LINE.exec(line) ?? [undefined, undefined, line.trim()];
      if (!text) return;
      if (state === 'running' && mark === '#') log.warn({ redis: text }, 'Redis says');
      else log.debug({ redis: text }, 'Redis says');
      if (mark !== '.' && mark !== '-') lastWords = text;
    });
  }
  child.once('exit', (code, exitSignal) => {
    process.off('exit', endWithUs);
    const expected = state !== 'running';
    state = 'ended';
    if (expected) return;
    exitReason = exitSignal === null ? `exit code ${code}` : `signal ${exitSignal}`;
    tellExit?.(exitReason);
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;

  async function stop() {
    if (hasEnded()) return;
    state = 'stopping';
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
    if (dirname(place.socket) !== folder) await rm(dirname(place.socket), { recursive: true, force: true });
  }

  try {
    await waitUntil(async () => {
      signal?.throwIfAborted();
      if (hasEnded()) {
        throw new StartError(
          `redis-server ended at its start${lastWords === '' ? '' : ` and said: "${lastWords}"`}. Its data are in ${folder}.`,
        );
      }
      return existsSync(place.socket) && (await askRedis(place.socket, 'PING', 5000).catch(() => '')) === '+PONG';
    }, Number.POSITIVE_INFINITY);
  } catch (error) {
    await stop();
    throw error;
  }
  state = 'running';
  return {
    url: `unix://${place.socket.split('/').map(encodeURIComponent).join('/')}`,
    pid,
    stop,
    onExit(callback) {
      tellExit = callback;
      if (exitReason !== undefined) callback(exitReason);
    },
  };
}
