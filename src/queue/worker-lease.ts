import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Kind } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

const LEASE_MS = 15_000;

const RENEW_SCRIPT = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;

const RELEASE_SCRIPT = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

export type WorkerLease = {
  /** `<kind>_worker_<n>`; n is the lowest number that no living worker holds. */
  name: string;
  /** False where another worker has taken the number during an outage. */
  renew(): Promise<boolean>;
  release(): Promise<void>;
};

/** Takes the lowest free worker number of a kind, so that names and log files stay the same over restarts. */
export async function takeWorkerLease(redis: Redis, kind: Kind): Promise<WorkerLease> {
  const holder = randomUUID();
  for (let number = 1; ; number++) {
    const key = KEYS.workerLease(kind, number);
    if ((await redis.set(key, holder, 'PX', LEASE_MS, 'NX')) !== 'OK') continue;
    return {
      name: `${kind}_worker_${number}`,
      renew: async () => (await redis.eval(RENEW_SCRIPT, 1, key, holder, LEASE_MS)) === 1,
      release: async () => {
        await redis.eval(RELEASE_SCRIPT, 1, key, holder);
      },
    };
  }
}
