import { pino } from 'pino';
import { expect, it } from 'vitest';
import { connectFailFast, disconnect } from '../../src/queue/redis.ts';
import { startServer } from '../support/redis-servers.ts';
import { waitFor } from '../support/wait-for.ts';

it.each([
  ['may evict tasks', 'maxmemory-policy allkeys-lru', /maxmemory-policy to noeviction/],
  ['is a node of a cluster', 'cluster-enabled yes', /redis-cluster:\/\//],
  ['is a replica', 'replicaof 127.0.0.1 1', /names a replica/],
])('a Redis that %s is logged with what to do', async (_, line, sentence) => {
  const server = await startServer({ lines: [line] });
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (text: string) => lines.push(text) });
  const client = connectFailFast({ url: `redis://127.0.0.1:${server.port}`, caFile: undefined }, log);
  await waitFor('the warning', () => sentence.test(lines.join('')));
  expect(lines).toHaveLength(1);
  await disconnect(client);
  await server.stop();
});

it('a Redis that is as it should be is not complained of', async () => {
  const server = await startServer({ lines: ['maxmemory-policy noeviction'] });
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (text: string) => lines.push(text) });
  const client = connectFailFast({ url: `redis://127.0.0.1:${server.port}/3`, caFile: undefined }, log);
  await waitFor('the connection', () => client.status === 'ready');
  await client.ping();
  expect(await client.client('INFO')).toMatch(/ db=3 /);
  await disconnect(client);
  await server.stop();
  expect(lines).toEqual([]);
});
