import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { tempDir } from './temp.ts';
import { waitFor } from './wait-for.ts';

export type TestRedis = {
  /** `unix:///...`, as REDIS_URL takes it. */
  url: string;
  socket: string;
  /** Options for a client that leaves off when the server goes away. */
  options: { path: string; maxRetriesPerRequest: number; retryStrategy: () => null };
  pid(): number;
  /** A client of its own; `stop` disconnects it. */
  client(): Redis;
  /** Ends the server without any warning, as an out-of-memory kill would. */
  kill9(): Promise<void>;
  /** Starts it again on the same data after kill9. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a private redis-server (append-only file, no snapshots, noeviction) in a new folder on a Unix socket. */
export async function startRedis(): Promise<TestRedis> {
  const folder = tempDir('r');
  const socket = join(folder, 's');
  const options = { path: socket, maxRetriesPerRequest: 1, retryStrategy: () => null };
  const clients = new Set<Redis>();
  let child: ChildProcess;

  async function start() {
    rmSync(socket, { force: true });
    const output: string[] = [];
    child = spawn(
      'redis-server',
      [
        ['--port', '0'],
        ['--unixsocket', socket],
        ['--dir', folder],
        ['--save', ''],
        ['--appendonly', 'yes'],
        ['--appendfsync', 'everysec'],
        ['--maxmemory-policy', 'noeviction'],
        ['--daemonize', 'no'],
      ].flat(),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const started = child;
    running.add(started);
    started.once('exit', () => running.delete(started));
    started.stdout?.setEncoding('utf8').on('data', (text: string) => output.push(text));
    await waitFor('a private redis-server', async () => {
      if (started.exitCode !== null) throw new Error(output.join(''));
      const probe = new Redis({ ...options, lazyConnect: true });
      probe.on('error', () => {});
      try {
        await probe.connect();
        return (await probe.ping()) === 'PONG';
      } finally {
        probe.disconnect();
      }
    });
  }

  async function end(signal: NodeJS.Signals) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  await start();
  return {
    url: `unix://${socket}`,
    socket,
    options,
    pid() {
      if (child.pid === undefined) throw new Error('redis-server has no process.');
      return child.pid;
    },
    client() {
      const client = new Redis(options);
      client.on('error', () => {});
      clients.add(client);
      return client;
    },
    kill9: () => end('SIGKILL'),
    restart: start,
    async stop() {
      for (const client of clients) client.disconnect();
      await end('SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
