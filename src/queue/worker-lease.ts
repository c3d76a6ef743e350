import { randomUUID } from 'node:crypto';
import process from 'node:process';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Kind } from '../contract/kinds.ts';
import { identifyMachine, identifyProcess, stillRuns } from '../process-identity.ts';
import { KEYS } from './keys.ts';

/** A number stays taken for so long after its worker's last word. */
const LEASE_MS = 15_000;

/** A worker counts as living for so long after its last word; less than the lock of a dead worker's task lasts. */
const ALIVE_MS = 6_000;

const TAKE_OVER_SCRIPT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** Begins with a write that takes no memory, so that a worker also lives where Redis has none left. */
const RENEW_SCRIPT = `
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;

const RELEASE_SCRIPT = `
redis.call('DEL', KEYS[2])
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

const Holder = z.object({ id: z.string(), machine: z.string(), pid: z.int(), process: z.string() });

export type WorkerLease = {
  /** `<kind>_worker_<n>`; n is the lowest number that no living worker holds. */
  name: string;
  /** Of this process alone; {@link KEYS.alive} is there as long as the lease is renewed. */
  id: string;
  /** False where another worker has taken the number during an outage. */
  renew(): Promise<boolean>;
  release(): Promise<void>;
};

/** True where the holder was a process beside this one and is no more: nobody needs to wait for its lease to run out. */
function isKnownDead(record: string, machine: string): boolean {
  const holder = Holder.safeParse(JSON.parse(record)).data;
  return holder !== undefined && holder.machine === machine && !stillRuns(holder.pid, holder.process);
}

/** Takes the lowest free worker number of a kind, so that names and log files stay the same over restarts. */
export async function takeWorkerLease(redis: Redis, kind: Kind): Promise<WorkerLease> {
  const id = randomUUID();
  const machine = identifyMachine();
  const holder = JSON.stringify({ id, machine, pid: process.pid, process: identifyProcess(process.pid) ?? '' });

  async function take(key: string): Promise<boolean> {
    if ((await redis.set(key, holder, 'PX', LEASE_MS, 'NX')) === 'OK') return true;
    const current = await redis.get(key);
    if (current === null) return take(key);
    if (!isKnownDead(current, machine)) return false;
    return (await redis.eval(TAKE_OVER_SCRIPT, 1, key, current, holder, LEASE_MS)) === 1;
  }

  for (let number = 1; ; number++) {
    const key = KEYS.workerLease(kind, number);
    if (!(await take(key))) continue;
    const keys = [key, KEYS.alive(id)] as const;
    const lease: WorkerLease = {
      name: `${kind}_worker_${number}`,
      id,
      renew: async () => (await redis.eval(RENEW_SCRIPT, 2, ...keys, holder, LEASE_MS, ALIVE_MS)) === 1,
      release: async () => {
        await redis.eval(RELEASE_SCRIPT, 2, ...keys, holder);
      },
    };
    await lease.renew();
    return lease;
  }
}
