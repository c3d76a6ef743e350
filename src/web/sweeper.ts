import type { Redis } from 'ioredis';
import { KIND_NAMES } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { recordKey } from '../queue/key-record.ts';
import { KEYS } from '../queue/keys.ts';
import type { Queues } from '../queue/queues.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { parseName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';

const SWEEP_EVERY_MS = 60_000;
const AT_ONCE = 1000;

type SweepOptions = {
  resultTtlSeconds: number;
  uploadTtlSeconds: number;
  /** A temporary file that nobody has written to for so long belongs to a process that is gone. */
  abandonedSeconds: number;
};

/** True where a task that still waits, runs or shows its result names the file. */
async function isNeeded(redis: Redis | undefined, base: string): Promise<boolean> {
  if (redis === undefined) return false;
  const member = await redis.get(KEYS.file(base));
  if (member === null) return false;
  const [queue = '', taskId = ''] = member.split(':');
  return (await redis.exists(KEYS.job(queue, taskId))) === 1;
}

/** Removes files older than `uploadTtlSeconds` that no task needs any more, and abandoned temporary files. */
export async function sweepFiles(
  storage: Storage,
  redis: Redis | undefined,
  { uploadTtlSeconds, abandonedSeconds }: Pick<SweepOptions, 'uploadTtlSeconds' | 'abandonedSeconds'>,
): Promise<number> {
  let removed = await storage.sweepTemporary(abandonedSeconds);
  let last: string | undefined;
  for await (const { name, ageSeconds } of storage.stored()) {
    const base = parseName(name)?.base;
    if (base === undefined || ageSeconds < uploadTtlSeconds || base === last || (await isNeeded(redis, base))) continue;
    // What was made of it long after the upload goes with it all the same.
    await storage.removeAll(name);
    await redis?.del(KEYS.file(base));
    last = base;
    removed++;
  }
  return removed;
}

/** Removes ended jobs past their time, which BullMQ does only when another one ends. */
async function sweepJobs(queues: Queues, resultTtlSeconds: number): Promise<void> {
  for (const kind of KIND_NAMES) {
    for (const state of ['completed', 'failed'] as const) {
      let removed: string[];
      do removed = await queues[kind].clean(resultTtlSeconds * 1000, AT_ONCE, state);
      while (removed.length >= AT_ONCE);
    }
  }
}

/** Which of these members of the index have neither a job nor the record of a cancelled task. */
async function goneOf(redis: Redis, members: string[]): Promise<string[]> {
  const lookups = redis.pipeline();
  for (const member of members) {
    const [queue = '', taskId = ''] = member.split(':');
    lookups.exists(KEYS.job(queue, taskId), KEYS.revoked(taskId));
  }
  const replies = (await lookups.exec()) ?? [];
  return members.filter((_, index) => replies[index]?.[1] === 0);
}

/** Takes entries out of the index of tasks whose task is gone. */
async function sweepIndex(redis: Redis, owner: string | null, resultTtlSeconds: number): Promise<void> {
  const key = KEYS.index(owner);
  const before = Date.now() - resultTtlSeconds * 1000;
  let kept = 0;
  let members: string[];
  do {
    members = await redis.zrangebyscore(key, 0, before, 'LIMIT', kept, AT_ONCE);
    const gone = await goneOf(redis, members);
    if (gone.length > 0) await redis.zrem(key, ...gone);
    kept += members.length - gone.length;
  } while (members.length === AT_ONCE);
}

/**
 * Keeps storage and Redis free of what has expired, once a minute, in one web process at a time.
 *
 * @param owners names of the API keys, each of which has an index of its own
 */
export function startSweeper(
  storage: Storage,
  shared: { redis: Redis; queues: Queues; keyring: Keyring } | undefined,
  owners: readonly string[],
  options: SweepOptions,
  log: Logger,
): { stop(): Promise<void> } {
  // Short lifetimes, as in tests and demonstrations, are honoured to the second or so.
  const everyMs = Math.max(1000, Math.min(SWEEP_EVERY_MS, options.uploadTtlSeconds * 250));
  let running = Promise.resolve();
  let filesSweptAt = Number.NEGATIVE_INFINITY;

  /** Where listing is dear, one look every so often does for all web processes. */
  async function isTimeForFiles(): Promise<boolean> {
    const every = Math.min(storage.listEverySeconds * 1000, options.uploadTtlSeconds * 250);
    if (every <= everyMs) return true;
    if (shared !== undefined) return (await shared.redis.set(KEYS.fileSweepLease(), '1', 'PX', every, 'NX')) === 'OK';
    if (performance.now() - filesSweptAt < every) return false;
    filesSweptAt = performance.now();
    return true;
  }

  async function sweep(): Promise<void> {
    if (shared !== undefined) {
      const { redis, queues, keyring } = shared;
      if (redis.status !== 'ready') return;
      if ((await redis.set(KEYS.sweepLease(), '1', 'PX', Math.round(0.9 * everyMs), 'NX')) !== 'OK') return;
      await recordKey(redis, keyring);
      await sweepJobs(queues, options.resultTtlSeconds);
      for (const owner of [null, ...owners]) await sweepIndex(redis, owner, options.resultTtlSeconds);
    }
    if (!(await isTimeForFiles())) return;
    const removed = await sweepFiles(storage, shared?.redis, options);
    if (removed > 0) log.info({ removed }, 'expired files removed');
  }

  const tick = () => {
    running = sweep().catch((error: unknown) => log.warn({ err: error }, 'sweeping failed; it is tried again'));
  };
  const timer = setInterval(tick, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
