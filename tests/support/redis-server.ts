import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { startProgram } from './child.ts';

export type RedisServer = {
  pid(): number;
  /** A client of its own, that leaves off when the server goes away; `stop` ends it. */
  client(): Redis;
  /** Ends the server without any warning, as an out-of-memory kill would. */
  kill9(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
};

/** What clients present. */
export type Secrets = { username?: string; password?: string; tls?: { ca: Buffer; servername: string } };

/** How clients reach a server. */
type Access = ({ path: string } | { host: string; port: number }) & Secrets;

/** Settings under which no accepted task is ever lost. */
export const DURABLE = ['appendonly yes', 'appendfsync everysec', 'maxmemory-policy noeviction'];

/** A client's options by which it leaves off when the server goes away. */
export const IMPATIENT = { maxRetriesPerRequest: 1, retryStrategy: () => null };

/**
 * Runs redis-server, or a sentinel, until it is stopped.
 *
 * @param lines of its configuration file, beyond its folder
 * @param folder its data, removed in the end
 */
export async function runRedisServer(
  lines: readonly string[],
  folder: string,
  access: Access,
  { sentinel = false } = {},
): Promise<RedisServer> {
  const configuration = join(folder, 'redis.conf');
  const common = [`dir ${folder}`, ...(sentinel ? [] : ['save ""'])];
  writeFileSync(configuration, `${[...common, ...lines].join('\n')}\n`);
  const clients = new Set<Redis>();

  function client(): Redis {
    const made = new Redis({ ...access, ...IMPATIENT });
    made.on('error', () => undefined);
    clients.add(made);
    return made;
  }

  async function isUp(): Promise<boolean> {
    const probe = client();
    try {
      return (await probe.ping()) === 'PONG';
    } finally {
      probe.disconnect();
      clients.delete(probe);
    }
  }

  const command = ['redis-server', configuration, ...(sentinel ? ['--sentinel'] : [])] as const;
  const server = await startProgram(sentinel ? 'a sentinel' : 'a redis-server', command, isUp);
  return {
    pid: server.pid,
    client,
    kill9: server.kill9,
    restart: server.restart,
    async stop() {
      for (const made of clients) made.disconnect();
      await server.kill9();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
