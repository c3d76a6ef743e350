import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { QUEUE_NAMES } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { isFileNeeded, sweepIndex, sweepJobs } from '../queue/expired.ts';
import { noteDepth } from '../queue/history.ts';
import { recordKey } from '../queue/key-record.ts';
import { KEYS } from '../queue/keys.ts';
import type { Queues } from '../queue/queues.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { parseName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';

const SWEEP_EVERY_MS = 60_000;

/** How long a sweep may take to come to an end when the process stops, in ms. */
const STOP_LIMIT_MS = 500;

type SweepOptions = {
  resultTtlSeconds: number;
  uploadTtlSeconds: number;
  /** A temporary file that nobody has written to for so long belongs to a process that is gone. */
  abandonedSeconds: number;
};

/** Removes files older than `uploadTtlSeconds` that no task needs any more, and abandoned temporary files. */
async function sweepFiles(
  storage: Storage,
  redis: Redis | undefined,
  { uploadTtlSeconds, abandonedSeconds }: Pick<SweepOptions, 'uploadTtlSeconds' | 'abandonedSeconds'>,
  stopping: AbortSignal,
): Promise<number> {
  let removed = 0;
  let last: string | undefined;
  for await (const { name, ageSeconds } of storage.stored()) {
    if (stopping.aborted) return removed;
    const base = parseName(name)?.base;
    if (base === undefined || ageSeconds < uploadTtlSeconds || base === last || (await isFileNeeded(redis, base)))
      continue;
    // What was made of it long after the upload goes with it all the same.
    await storage.removeAll(name);
    await redis?.del(KEYS.file(base));
    last = base;
    removed++;
  }
  return removed + (await storage.sweepTemporary(abandonedSeconds));
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
  // What a killed process has left on this machine goes at once, whichever process keeps house for all.
  let running: Promise<unknown> = storage.discardOrphans().then(
    (removed) => removed > 0 && log.info({ removed }, 'uploads to a process that is gone removed'),
    (error: unknown) => log.warn({ err: error }, 'temporary files could not be looked through'),
  );
  let filesSweptAt = Number.NEGATIVE_INFINITY;
  const stopping = new AbortController();

  /** Listing takes time, or money: one look every so often does for all web processes. */
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
      // Where every worker of a queue is gone nobody else would.
      for (const queue of QUEUE_NAMES) await noteDepth(redis, queue, Number.NaN);
      await sweepJobs(queues, options.resultTtlSeconds);
      for (const owner of [null, ...owners]) await sweepIndex(redis, owner, options.resultTtlSeconds);
    }
    if (!(await isTimeForFiles())) return;
    const removed = await sweepFiles(storage, shared?.redis, options, stopping.signal);
    if (removed > 0) log.info({ removed }, 'expired files removed');
  }

  let busy = false;
  const tick = () => {
    if (busy) return;
    busy = true;
    running = sweep()
      .catch((error: unknown) => log.warn({ err: error }, 'sweeping failed; it is tried again'))
      .finally(() => {
        busy = false;
      });
  };
  const timer = setInterval(tick, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      stopping.abort();
      // A store that does not answer is not waited for.
      await Promise.race([running, sleep(STOP_LIMIT_MS, undefined, { ref: false })]);
    },
  };
}
