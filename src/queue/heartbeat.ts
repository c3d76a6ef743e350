import type { Redis } from 'ioredis';
import { z } from 'zod';
import { KIND_NAMES, MEDIA } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

/** What a worker says of itself, every {@link HEARTBEAT_MS}. */
export const Heartbeat = z.object({
  /** Of this process alone; '' from one that is older than this field, as below. */
  id: z.string().default(''),
  name: z.string(),
  kind: z.enum(KIND_NAMES),
  host: z.string(),
  pid: z.int(),
  state: z.enum(['starting', 'ready', 'draining']),
  /** Why it takes no work while it is starting. */
  reason: z.string().optional(),
  concurrency: z.int(),
  current: z.array(
    z.object({
      task_id: z.string(),
      started_at: z.number(),
      media: z.enum(MEDIA).optional(),
      percent: z.number().optional(),
    }),
  ),
  done: z.int(),
  failed: z.int(),
  retried: z.int().default(0),
  /** Of the host, averaged over a minute. */
  load: z.number().default(0),
  /** Of the worker and its detection processes, 100 for each core. */
  cpu_percent: z.number().default(0),
  /** Resident memory in bytes, of the worker itself and of its detection processes. */
  rss: z.int(),
  lanes: z.array(z.object({ pid: z.int(), rss: z.int() })),
  model: z.string().nullable(),
  /** What its detection processes have in memory, and what each model computes on. */
  models: z.array(z.object({ name: z.string(), provider: z.enum(['cpu', 'cuda']) })).default([]),
  started_at: z.number(),
  /** By the clock of whoever reads it. */
  beat_at: z.number(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

/** The reason that a worker gives while there is no model; the health view turns it into a sentence that helps. */
export const NO_MODEL = 'no model';

/** How often a worker is heard of. */
export const HEARTBEAT_MS = 2000;

/** A worker that has been silent for so long, and has not signed off, is lost. */
const LOST_AFTER_MS = 10_000;

/** A lost worker's last word is kept for so long. */
const REMEMBERED_MS = 3_600_000;

/**
 * Ages are told by Redis' clock alone: those of the machines differ. The first write takes no memory, so that a worker is
 * also heard where Redis has none left.
 */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

const BEAT_SCRIPT = `${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])`;

/** Names with the age of their last beat in ms, one after the other. */
const HEARD_SCRIPT = `${NOW}
local heard = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf', 'WITHSCORES')
for i = 2, #heard, 2 do heard[i] = now - heard[i] end
return heard`;

/** Says that a worker lives and how it stands. */
export async function beat(redis: Redis, heartbeat: Heartbeat): Promise<void> {
  const { name } = heartbeat;
  await redis.eval(BEAT_SCRIPT, 2, KEYS.workers(), KEYS.worker(name), name, JSON.stringify(heartbeat), REMEMBERED_MS);
}

/** Takes a worker that ends in good order out of the list. */
export async function signOff(redis: Redis, name: string): Promise<void> {
  await redis.pipeline().del(KEYS.worker(name)).zrem(KEYS.workers(), name).exec();
}

/** Every worker that has been heard of within the last seconds, by name. */
export function liveWorkers(redis: Redis): Promise<Heartbeat[]> {
  return heardWithin(redis, LOST_AFTER_MS);
}

/** The same with those that fell silent within the last hour. */
export function knownWorkers(redis: Redis): Promise<Heartbeat[]> {
  return heardWithin(redis, REMEMBERED_MS);
}

/** True for the last word of a worker that fell silent without signing off. */
export const isLost = ({ beat_at }: Heartbeat) => beat_at < Date.now() - LOST_AFTER_MS;

/** The heartbeats of the last so many ms, `beat_at` as the clock of this machine would have it. */
async function heardWithin(redis: Redis, ms: number): Promise<Heartbeat[]> {
  const heard = (await redis.eval(HEARD_SCRIPT, 1, KEYS.workers(), ms)) as (string | number)[];
  const names = heard.filter((_, index) => index % 2 === 0).map(String);
  if (names.length === 0) return [];
  const ages = heard.filter((_, index) => index % 2 === 1).map(Number);
  const beats = await redis.mget(names.map((name) => KEYS.worker(name)));
  const now = Date.now();
  return beats
    .flatMap((text, index) => {
      const parsed = text === null ? undefined : Heartbeat.safeParse(JSON.parse(text)).data;
      return parsed === undefined ? [] : [{ ...parsed, beat_at: now - (ages[index] ?? 0) }];
    })
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
