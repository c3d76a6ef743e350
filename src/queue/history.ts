import type { ChainableCommander, Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

/*
 * What each queue's workers counted in every minute of the last day: one small hash per queue and minute, its fields one
 * letter and the number of a bucket, so that Redis keeps it as a compact list (about 400 bytes, 1.2 MB for a busy day).
 */

const KEPT_SECONDS = 25 * 3600;

/** Upper bounds in seconds; finer than Prometheus' buckets, since percentiles are read from these. */
const BOUNDS = [
  0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300, 600,
  1800, 3600,
] as const;

const TIMES = { wait: 'w', run: 'r' } as const;
const COUNTS = { succeeded: 's', failed: 'f', revoked: 'c', retried: 't' } as const;
const DEPTH = 'd';

const minuteOf = (ms: number) => Math.floor(ms / 60_000);
const has = <T extends object>(table: T, name: string): name is string & keyof T => Object.hasOwn(table, name);

export type HistoryCollector = {
  observe(histogram: string, seconds: number): void;
  count(counter: string): void;
  /** Adds what has come together to a transaction; {@link HistoryCollector.written} tells that it went through. */
  write(transaction: ChainableCommander): void;
  written(): void;
};

/** Collects what goes into the history of a queue; other histograms and counters are passed over. */
export function collectHistory(queue: QueueName): HistoryCollector {
  let pending = new Map<string, number>();
  let sent = new Map<string, number>();
  const add = (field: string, amount = 1) => void pending.set(field, (pending.get(field) ?? 0) + amount);
  return {
    observe(histogram, seconds) {
      if (!has(TIMES, histogram)) return;
      const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
      add(`${TIMES[histogram]}${bucket === -1 ? BOUNDS.length : bucket}`);
    },
    count(counter) {
      if (has(COUNTS, counter)) add(COUNTS[counter]);
    },
    write(transaction) {
      // What was sent before and not confirmed goes once more.
      for (const [field, amount] of sent) add(field, amount);
      sent = pending;
      pending = new Map();
      if (sent.size === 0) return;
      const key = KEYS.history(queue, minuteOf(Date.now()));
      for (const [field, amount] of sent) transaction.hincrby(key, field, amount);
      transaction.expire(key, KEPT_SECONDS);
    },
    written() {
      sent = new Map();
    },
  };
}

/**
 * Notes once a minute how many tasks wait, unless somebody else has.
 *
 * @param notedMinute what this has returned before
 * @returns the minute that is noted now
 */
export async function noteDepth(redis: Redis, queue: QueueName, notedMinute: number): Promise<number> {
  const minute = minuteOf(Date.now());
  const key = KEYS.history(queue, minute);
  if (minute === notedMinute || (await redis.hexists(key, DEPTH)) === 1) return minute;
  const [waiting, prioritized] = await Promise.all([
    redis.llen(KEYS.waiting(queue)),
    redis.zcard(KEYS.prioritized(queue)),
  ]);
  await redis
    .multi()
    .hset(key, DEPTH, waiting + prioritized)
    .expire(key, KEPT_SECONDS)
    .exec();
  return minute;
}

export type MinuteFields = Record<string, string>;

/** Reads the hashes of a queue's minutes from..to, both included. */
export async function readMinutes(redis: Redis, queue: QueueName, from: number, to: number): Promise<MinuteFields[]> {
  const reads = redis.pipeline();
  for (let minute = from; minute <= to; minute++) reads.hgetall(KEYS.history(queue, minute));
  return ((await reads.exec()) ?? []).map(([error, reply]) => {
    if (error !== null) throw error;
    return reply as MinuteFields;
  });
}

export type Latency = { p50: number | null; p95: number | null; p99: number | null };
export type Totals = {
  succeeded: number;
  failed: number;
  revoked: number;
  retried: number;
  /** The most that waited at any minute; null where nobody noted it. */
  waiting: number | null;
  /** Seconds, read from buckets. */
  wait: Latency;
  run: Latency;
};

/** The value below which this part of what the buckets hold lies, straight between the bounds of its bucket. */
function percentile(buckets: readonly number[], part: number): number | null {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (const [index, count] of buckets.entries()) {
    if (count === 0) continue;
    if (left > count) {
      left -= count;
      continue;
    }
    const low = BOUNDS[index - 1] ?? 0;
    const high = BOUNDS[index] ?? low;
    return Math.round((low + (high - low) * (left / count)) * 1000) / 1000;
  }
  return BOUNDS.at(-1) ?? null;
}

function latency(minutes: readonly MinuteFields[], letter: string): Latency {
  const buckets = Array.from({ length: BOUNDS.length + 1 }, (_, index) => sum(minutes, `${letter}${index}`));
  return { p50: percentile(buckets, 0.5), p95: percentile(buckets, 0.95), p99: percentile(buckets, 0.99) };
}

const sum = (minutes: readonly MinuteFields[], field: string) =>
  minutes.reduce((total, fields) => total + Number(fields[field] ?? 0), 0);

/** What several minutes come to. */
export function totalsOf(minutes: readonly MinuteFields[]): Totals {
  const depths = minutes.flatMap((fields) => (fields[DEPTH] === undefined ? [] : [Number(fields[DEPTH])]));
  return {
    succeeded: sum(minutes, COUNTS.succeeded),
    failed: sum(minutes, COUNTS.failed),
    revoked: sum(minutes, COUNTS.revoked),
    retried: sum(minutes, COUNTS.retried),
    waiting: depths.length === 0 ? null : Math.max(...depths),
    wait: latency(minutes, TIMES.wait),
    run: latency(minutes, TIMES.run),
  };
}
