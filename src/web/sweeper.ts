import type { Redis } from 'ioredis';
import { KIND_NAMES } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { KEYS } from '../queue/keys.ts';
import type { Queues } from '../queue/queues.ts';
import { parseName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';

const SWEEP_EVERY_MS = 60_000;
const JOBS_AT_ONCE = 1000;

/** A temporary file that nobody has written to for so long belongs to a process that is gone, in seconds. */
const ABANDONED_SECONDS = 3600;

type SweepOptions = { resultTtlSeconds: number; uploadTtlSeconds: number };

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
  uploadTtlSeconds: number,
): Promise<number> {
  let removed = await storage.sweepTemporary(ABANDONED_SECONDS);
  for await (const { name, ageSeconds } of storage.stored()) {
    const base = parseName(name)?.base;
    if (base === undefined || ageSeconds < uploadTtlSeconds || (await isNeeded(redis, base))) continue;
    await storage.remove(name);
    await redis?.del(KEYS.file(base));
    removed++;
  }
  return removed;
}

/** Removes ended jobs past their time, which BullMQ does only when another one ends. */
async function sweepJobs(queues: Queues, resultTtlSeconds: number): Promise<void> {
  for (const kind of KIND_NAMES) {
    for (const state of ['completed', 'failed'] as const) {
      await queues[kind].clean(resultTtlSeconds * 1000, JOBS_AT_ONCE, state);
    }
  }
}

/** Takes entries out of the index of tasks whose job is gone, the oldest first. */
async function sweepIndex(redis: Redis, owner: string | null, resultTtlSeconds: number): Promise<void> {
  const before = Date.now() - resultTtlSeconds * 1000;
  const members = await redis.zrangebyscore(KEYS.index(owner), 0, before, 'LIMIT', 0, JOBS_AT_ONCE);
  if (members.length === 0) return;
  const lookups = redis.pipeline();
  for (const member of members) {
    const [queue = '', taskId = ''] = member.split(':');
    lookups.exists(KEYS.job(queue, taskId), KEYS.revoked(taskId));
  }
  const replies = (await lookups.exec()) ?? [];
  const gone = members.filter((_, index) => replies[index]?.[1] === 0);
  if (gone.length > 0) await redis.zrem(KEYS.index(owner), ...gone);
}

/**
 * Keeps storage and Redis free of what has expired, once a minute, in one web process at a time.
 *
 * @param owners names of the API keys, each of which has an index of its own
 */
export function startSweeper(
  storage: Storage,
  shared: { redis: Redis; queues: Queues } | undefined,
  owners: readonly string[],
  options: SweepOptions,
  log: Logger,
): { stop(): Promise<void> } {
  // Short lifetimes, as in tests and demonstrations, are honoured to the second or so.
  const everyMs = Math.max(1000, Math.min(SWEEP_EVERY_MS, options.uploadTtlSeconds * 250));
  let running = Promise.resolve();

  async function sweep(): Promise<void> {
    if (shared !== undefined) {
      const { redis, queues } = shared;
      if (redis.status !== 'ready') return;
      if ((await redis.set(KEYS.sweepLease(), '1', 'PX', Math.round(0.9 * everyMs), 'NX')) !== 'OK') return;
      await sweepJobs(queues, options.resultTtlSeconds);
      for (const owner of [null, ...owners]) await sweepIndex(redis, owner, options.resultTtlSeconds);
    }
    const removed = await sweepFiles(storage, shared?.redis, options.uploadTtlSeconds);
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
