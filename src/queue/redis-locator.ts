import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { RedisAddress, RedisPlace } from '../redis-url.ts';
import { PREFIX } from './keys.ts';

/** A node that does not say within this, in ms, where the master is, is passed over. */
const ASK_MS = 1000;
const LONGEST_PAUSE_MS = 1000;

type Many = Extract<RedisPlace, { mode: 'sentinel' | 'cluster' }>;
export type TlsOptions = { ca?: Buffer };

/** `seed` is the address as REDIS_URL has it of the node that gave this answer. */
export type Master = RedisAddress & { seed: RedisAddress };
export type MasterLocator = (signal: AbortSignal, tell: (error: Error) => void) => Promise<Master>;

async function ask<T>(
  address: RedisAddress,
  credentials: { username?: string; password?: string },
  tls: TlsOptions | undefined,
  question: (client: Redis) => Promise<T>,
): Promise<T> {
  const client = new Redis({
    ...address,
    ...credentials,
    ...(tls === undefined ? {} : { tls }),
    lazyConnect: true,
    retryStrategy: () => null,
    enableReadyCheck: false,
    disableClientInfo: true,
    protocol: 2,
    connectTimeout: ASK_MS,
    commandTimeout: ASK_MS,
    maxRetriesPerRequest: 0,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await question(client);
  } finally {
    client.disconnect();
  }
}

/** Who serves the one slot in which all keys are. */
async function askCluster(
  client: Redis,
  asked: RedisAddress,
): Promise<{ master: RedisAddress; nodes: RedisAddress[] }> {
  const slot = await client.cluster('KEYSLOT', PREFIX);
  const ranges = await client.cluster('SLOTS');
  // A node that does not know its own name leaves it out.
  const address = ([host, port]: [host: string | null, port: number, ...unknown[]]) => ({
    host: host || asked.host,
    port,
  });
  const nodes = ranges.flatMap(([, , ...found]) => found.map(address));
  const range = ranges.find(([first, last]) => first <= slot && slot <= last);
  if (range?.[2] === undefined) throw new Error('no node of the cluster serves the slot of our keys');
  return { master: address(range[2]), nodes };
}

async function askSentinel(client: Redis, name: string): Promise<RedisAddress> {
  const found = (await client.call('SENTINEL', 'get-master-addr-by-name', name)) as [string, string] | null;
  if (found === null) throw new Error(`the sentinels know no master named ${name}`);
  return { host: found[0], port: Number(found[1]) };
}

const sameAddress = (one: RedisAddress) => (other: RedisAddress) => one.host === other.host && one.port === other.port;

/**
 * Finds the one server to talk to: the master that the sentinels name or, since every key of ours has the same hash
 * tag, the cluster's node which serves that tag's slot. Asks one node after the other, beginning with another one each
 * time, until one answers.
 *
 * @throws the signal's reason when it is aborted
 */
export function locateMaster(place: Many, tls: TlsOptions | undefined): MasterLocator {
  const { username, password } = place;
  const credentials = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  /** Nodes of the cluster beyond those of REDIS_URL: the latter may all be gone one day. */
  let learned: { address: RedisAddress; seed: RedisAddress }[] = [];
  let turn = 0;

  async function askOne(address: RedisAddress, seed: RedisAddress): Promise<Master> {
    if (place.mode === 'cluster') {
      const { master, nodes } = await ask(address, credentials, tls, (client) => askCluster(client, address));
      const known = place.addresses;
      learned = nodes.filter((node) => !known.some(sameAddress(node))).map((node) => ({ address: node, seed }));
      return { ...master, seed };
    }
    const question = (client: Redis) => askSentinel(client, place.master);
    // Sentinels have a password of their own, the same, or most often none.
    const found = await ask(address, {}, tls, question).catch((error: Error) => {
      if (password === undefined || !/NOAUTH|NOPERM/.test(error.message)) throw error;
      return ask(address, credentials, tls, question);
    });
    return { ...found, seed };
  }

  return async (signal, tell) => {
    for (let round = 1; ; round++) {
      const nodes = [...place.addresses.map((address) => ({ address, seed: address })), ...learned];
      let lastError = new Error('nobody was asked');
      for (const [index] of nodes.entries()) {
        signal.throwIfAborted();
        const node = nodes[(turn + index) % nodes.length];
        if (node === undefined) continue;
        try {
          const master = await askOne(node.address, node.seed);
          turn += index + 1;
          return master;
        } catch (error) {
          lastError = error as Error;
        }
      }
      tell(
        new Error(`No ${place.mode === 'cluster' ? 'node of the cluster' : 'sentinel'} answers: ${lastError.message}`),
      );
      await sleep(Math.min(200 * round, LONGEST_PAUSE_MS), undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  };
}
