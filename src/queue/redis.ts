import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type RedisOptions as AllRedisOptions, Redis } from 'ioredis';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { parseRedisUrl, REDIS_URL_FORMS } from '../redis-url.ts';
import { joinWrites } from './joined-writes.ts';
import { connectorTo } from './redis-connector.ts';
import { locateMaster, type TlsOptions } from './redis-locator.ts';
import { isTooOld, OLDEST_VERSION } from './redis-version.ts';

type RedisOptions = Omit<AllRedisOptions, 'replyMapping'>;

export type RedisSettings = { url: string | undefined; caFile: string | undefined };

/** A command of the web process is given up after so many ms: a client gets its 503 within two seconds, its file looked at. */
const FAIL_FAST_MS = 1200;

/**
 * A server that owes an answer for so long, in ms, is taken for gone, although the connection was never closed: a new
 * connection is made, to the new master where there may be one. Longer than an idle worker waits for a task.
 */
const SILENT_MS = { failFast: 3000, patient: 12_000 } as const;

const PROBE_MS = 5000;

/** What a server says that is not, or no longer, the one to write to. */
const NOT_THE_MASTER = /(^|-)(READONLY|MOVED|MASTERDOWN|CLUSTERDOWN|UNBLOCKED) /;

/** `remote`: the other end may vanish without a word. */
type Endpoint = { options: RedisOptions; remote: boolean };

function readAuthority(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    throw new StartError('REDIS_CA_FILE cannot be read. Give it a PEM file that this user may read.');
  }
}

function endpoint(settings: RedisSettings): Endpoint {
  if (settings.url === undefined) {
    throw new StartError('REDIS_URL is not set. Set it, or use `npm start`, which brings its own Redis.');
  }
  const place = parseRedisUrl(settings.url);
  if (place === undefined) throw new StartError(`REDIS_URL must look like ${REDIS_URL_FORMS}.`);
  if (place.mode === 'socket') return { options: { path: place.path }, remote: false };
  const tls: TlsOptions | undefined = place.tls
    ? settings.caFile === undefined
      ? {}
      : { ca: readAuthority(settings.caFile) }
    : undefined;
  const options: RedisOptions = {
    ...(place.username === undefined ? {} : { username: place.username }),
    ...(place.password === undefined ? {} : { password: place.password }),
    ...(place.mode !== 'cluster' && place.database > 0 ? { db: place.database } : {}),
    ...(tls === undefined ? {} : { tls }),
  };
  if (place.mode === 'single') return { options: { ...options, ...place.address }, remote: true };
  return { options: { ...options, Connector: connectorTo(locateMaster(place, tls), tls) }, remote: true };
}

const retryStrategy = (attempt: number) => Math.min(200 * attempt, 2000);

/** Tells once what would lose tasks or keep them from being taken. */
async function checkServer(client: Redis, log: Logger): Promise<void> {
  const info = await client.info();
  const value = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
  const version = value('redis_version');
  if (version !== undefined && isTooOld(version)) {
    log.error(
      { version },
      `Redis is older than ${OLDEST_VERSION} and lacks commands that are needed: take a newer one`,
    );
  }
  const policy = value('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    log.warn({ policy }, 'Redis may evict tasks when its memory is full: set its maxmemory-policy to noeviction');
  }
  if (client.options.Connector !== undefined) return;
  if (value('cluster_enabled') === '1') {
    log.error('REDIS_URL names a node of a Redis Cluster: write it as redis-cluster:// or rediss-cluster://');
  } else if (value('role') === 'slave') {
    log.error('REDIS_URL names a replica, which takes no tasks: name the master, or the sentinels');
  }
}

function connect(
  { options, remote }: Endpoint,
  behaviour: RedisOptions,
  patience: keyof typeof SILENT_MS,
  log: Logger,
): Redis {
  const client = new Redis({
    ...options,
    retryStrategy,
    connectTimeout: 3000,
    // 1: a new connection. 2: and the command again.
    reconnectOnError: ({ message }) => (NOT_THE_MASTER.test(message) ? (patience === 'patient' ? 2 : 1) : false),
    ...(remote ? { socketTimeout: SILENT_MS[patience] } : {}),
    ...behaviour,
  });
  client.on('connect', () => joinWrites(client.stream));
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

/** A connection for requests: a command fails at once where Redis is away, after 1.2 s where it hangs. */
export function connectFailFast(settings: RedisSettings, log: Logger): Redis {
  const behaviour = {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: FAIL_FAST_MS,
    autoResendUnfulfilledCommands: false,
  };
  const client = connect(endpoint(settings), behaviour, 'failFast', log);
  client.once('ready', () => void checkServer(client, log).catch(() => undefined));
  return client;
}

/** A connection for workers: commands wait for Redis to come back. */
export function connectPatient(settings: RedisSettings, log: Logger): Redis {
  return connect(endpoint(settings), { maxRetriesPerRequest: null }, 'patient', log);
}

/** A connection that only listens; it subscribes again by itself after an outage. */
export function connectSubscriber(settings: RedisSettings, log: Logger): Redis {
  const place = endpoint(settings);
  const client = connect(place, { maxRetriesPerRequest: null, autoResubscribe: true }, 'patient', log);
  if (!place.remote) return client;
  // It never asks for anything, and would not see that its server has fallen silent or another has taken over.
  const probe = setInterval(() => {
    if (client.status === 'ready') client.ping().catch(() => undefined);
  }, PROBE_MS).unref();
  client.once('end', () => clearInterval(probe));
  return client;
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
