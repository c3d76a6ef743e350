import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type RedisOptions as AllRedisOptions, Redis } from 'ioredis';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';

type RedisOptions = Omit<AllRedisOptions, 'replyMapping'>;

export type RedisSettings = { url: string | undefined; caFile: string | undefined };

/** A command of the web process is given up after so many ms: a client gets its 503 within two seconds. */
const FAIL_FAST_MS = 1500;

function endpoint(settings: RedisSettings): RedisOptions {
  if (settings.url === undefined) {
    throw new StartError('REDIS_URL is not set. Set it, or use `npm start`, which brings its own Redis.');
  }
  const url = new URL(settings.url);
  if (url.protocol === 'unix:') return { path: decodeURIComponent(url.pathname) };
  const options: RedisOptions = {
    host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1',
    port: Number(url.port || 6379),
  };
  if (url.username !== '') options.username = decodeURIComponent(url.username);
  if (url.password !== '') options.password = decodeURIComponent(url.password);
  const database = url.pathname.slice(1);
  if (database !== '') options.db = Number(database);
  if (url.protocol === 'rediss:') {
    options.tls = settings.caFile === undefined ? {} : { ca: readFileSync(settings.caFile) };
  }
  return options;
}

const retryStrategy = (attempt: number) => Math.min(200 * attempt, 2000);

function connect(options: RedisOptions, log: Logger): Redis {
  const complete = { ...options, retryStrategy, connectTimeout: 3000 };
  const client = new Redis(complete);
  let lastMessage = '';
  client.on('error', (error: Error) => {
    if (error.message === lastMessage) return;
    lastMessage = error.message;
    log.warn({ err: { message: error.message } }, 'Redis does not answer; trying again');
  });
  client.on('ready', () => {
    if (lastMessage !== '') log.info('Redis answers again');
    lastMessage = '';
  });
  return client;
}

/** A connection for requests: a command fails at once where Redis is away, after 1.5 s where it hangs. */
export function connectFailFast(settings: RedisSettings, log: Logger): Redis {
  return connect(
    {
      ...endpoint(settings),
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: FAIL_FAST_MS,
      autoResendUnfulfilledCommands: false,
    },
    log,
  );
}

/** A connection for workers: commands wait for Redis to come back. */
export function connectPatient(settings: RedisSettings, log: Logger): Redis {
  return connect({ ...endpoint(settings), maxRetriesPerRequest: null }, log);
}

/** A connection that only listens; it subscribes again by itself after an outage. */
export function connectSubscriber(settings: RedisSettings, log: Logger): Redis {
  return connect({ ...endpoint(settings), maxRetriesPerRequest: null, autoResubscribe: true }, log);
}

/** Resolves once the connection is up or has failed for the first time, at the latest after so many ms. */
export async function connected(client: Redis, patienceMs: number): Promise<void> {
  if (client.status === 'ready') return;
  await once(client, 'ready', { signal: AbortSignal.timeout(patienceMs) }).catch(() => undefined);
}

/** Ends a connection whether or not Redis answers. */
export async function disconnect(client: Redis): Promise<void> {
  if (client.status === 'ready') {
    await Promise.race([
      client.quit().catch(() => undefined),
      new Promise((resolve) => setTimeout(resolve, 500).unref()),
    ]);
  }
  client.disconnect();
}
