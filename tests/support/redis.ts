import { join } from 'node:path';
import { DURABLE, IMPATIENT, type RedisServer, runRedisServer } from './redis-server.ts';
import { tempDir } from './temp.ts';

export type TestRedis = RedisServer & {
  /** `unix:///...`, as REDIS_URL takes it. */
  url: string;
  socket: string;
  /** Options for a client that leaves off when the server goes away. */
  options: { path: string } & typeof IMPATIENT;
};

/** Starts a private redis-server (append-only file, no snapshots, noeviction) in a new folder on a Unix socket. */
export async function startRedis(): Promise<TestRedis> {
  const folder = tempDir('r');
  const socket = join(folder, 's');
  const options = { path: socket, ...IMPATIENT };
  const server = await runRedisServer(['port 0', `unixsocket ${socket}`, ...DURABLE], folder, { path: socket });
  return { ...server, url: `unix://${socket}`, socket, options };
}
