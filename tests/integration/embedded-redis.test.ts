import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterEach, expect, it, onTestFinished } from 'vitest';
import { identifyProcess } from '../../src/process-identity.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from '../../src/supervisor/embedded-redis.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

const log = pino({ level: 'silent' });
const started: EmbeddedRedis[] = [];

async function start(dataDir: string) {
  const redis = await startEmbeddedRedis({ dataDir, log });
  started.push(redis);
  return redis;
}

function connect({ url }: EmbeddedRedis) {
  const client = new Redis({
    path: decodeURIComponent(new URL(url).pathname),
    maxRetriesPerRequest: 1,
    retryStrategy: () => null,
  });
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}

/** The append-only files of Redis 7 (in a folder) or earlier. */
function appendOnlyFile(dataDir: string): string {
  const folder = join(dataDir, 'redis');
  const inFolder = join(folder, 'appendonlydir');
  const name = readdirSync(inFolder).find((entry) => entry.endsWith('.incr.aof'));
  return name === undefined ? join(folder, 'appendonly.aof') : join(inFolder, name);
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((redis) => redis.stop()));
});

it('is private, durable and never evicts', async () => {
  const dataDir = tempDir('er');
  const redis = await start(dataDir);
  const client = connect(redis);
  expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  expect(await client.config('GET', 'port')).toEqual(['port', '0']);
  expect(await client.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
  expect(await client.config('GET', 'appendfsync')).toEqual(['appendfsync', 'everysec']);
  expect(statSync(decodeURIComponent(new URL(redis.url).pathname)).mode & 0o777).toBe(0o700);
  const stat = readFileSync(`/proc/${redis.pid}/stat`, 'utf8');
  const session = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]);
  expect(session).toBe(redis.pid);
});

it('keeps its data over a stop and over a kill -9, under the same URL', async () => {
  const dataDir = tempDir('er');
  const first = await start(dataDir);
  await connect(first).set('a', '1');
  await first.stop();
  expect(identifyProcess(first.pid)).toBeUndefined();

  const second = await start(dataDir);
  expect(second.url).toBe(first.url);
  const client = connect(second);
  expect(await client.get('a')).toBe('1');
  await client.set('b', '2');
  const reason = new Promise((resolve) => second.onExit(resolve));
  process.kill(second.pid, 'SIGKILL');
  expect(await reason).toBe('signal SIGKILL');

  expect(await connect(await start(dataDir)).mget('a', 'b')).toEqual(['1', '2']);
});

it('ends the Redis of a killed supervisor before it starts its own', async () => {
  const dataDir = tempDir('er');
  const leftover = await start(dataDir);
  await connect(leftover).set('a', '1');
  const second = await start(dataDir);
  expect(second.pid).not.toBe(leftover.pid);
  expect(identifyProcess(leftover.pid)).toBeUndefined();
  expect(await connect(second).get('a')).toBe('1');
});

it('ends a leftover that hangs, too', async () => {
  const dataDir = tempDir('er');
  const leftover = await start(dataDir);
  await connect(leftover).set('a', '1');
  process.kill(leftover.pid, 'SIGSTOP');
  const second = await start(dataDir);
  expect(identifyProcess(leftover.pid)).toBeUndefined();
  expect(await connect(second).get('a')).toBe('1');
});

it('takes a socket elsewhere when the path of the data folder is too long for one', async () => {
  const dataDir = join(tempDir('er'), 'x'.repeat(90), 'ü '.repeat(20));
  mkdirSync(dataDir, { recursive: true });
  const redis = await start(dataDir);
  expect(await connect(redis).set('a', '1')).toBe('OK');
  const socket = decodeURIComponent(new URL(redis.url).pathname);
  expect(Buffer.byteLength(socket)).toBeLessThanOrEqual(100);
  expect(statSync(join(socket, '..')).mode & 0o777).toBe(0o700);
});

it('starts after a power failure cut the last record off', async () => {
  const dataDir = tempDir('er');
  const first = await start(dataDir);
  await connect(first).mset('a', '1', 'b', '2');
  await connect(first).set('cut', 'x'.repeat(100));
  await first.stop();
  const file = appendOnlyFile(dataDir);
  truncateSync(file, statSync(file).size - 30);
  expect(await connect(await start(dataDir)).mget('a', 'b', 'cut')).toEqual(['1', '2', null]);
});

it('says so when its data cannot be read', async () => {
  const dataDir = tempDir('er');
  const first = await start(dataDir);
  await connect(first).set('a', '1');
  await first.stop();
  const file = appendOnlyFile(dataDir);
  writeFileSync(file, `this is not an append-only file\r\n`);
  appendFileSync(file, '*3\r\n$3\r\nSET\r\n');
  await expect(start(dataDir)).rejects.toThrow(/^redis-server ended at its start and said: ".*file.*"/i);
});

it('says what to do when redis-server is missing', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nowhere';
  onTestFinished(() => {
    process.env.PATH = path;
  });
  await expect(start(tempDir('er'))).rejects.toThrow(
    'redis-server is not installed. Run `npm run setup`, or set REDIS_URL to a Redis of your own.',
  );
});

it('leaves nothing when its start is called off', async () => {
  const dataDir = tempDir('er');
  const controller = new AbortController();
  const starting = startEmbeddedRedis({ dataDir, log, signal: controller.signal });
  const pidFile = join(dataDir, 'redis/redis.pid');
  const rejected = expect(starting).rejects.toThrow('called off');
  setTimeout(() => controller.abort(new Error('called off')), 10);
  await rejected;
  await waitFor('no process', () => {
    try {
      return identifyProcess(Number(readFileSync(pidFile, 'utf8'))) === undefined;
    } catch {
      return true;
    }
  });
});
