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
  beat_at: z.number(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HEARTBEAT_MS = 2000;

/** A worker that has been silent for so long, and has not signed off, is lost. */
export const LOST_AFTER_MS = 10_000;

/** A lost worker's last word is kept for so long. */
const REMEMBERED_MS = 3_600_000;

export async function beat(redis: Redis, heartbeat: Heartbeat): Promise<void> {
  await redis
    .pipeline()
    .set(KEYS.worker(heartbeat.name), JSON.stringify(heartbeat), 'PX', REMEMBERED_MS)
    .zadd(KEYS.workers(), heartbeat.beat_at, heartbeat.name)
    .zremrangebyscore(KEYS.workers(), '-inf', heartbeat.beat_at - REMEMBERED_MS)
    .exec();
}

export async function signOff(redis: Redis, name: string): Promise<void> {
  await redis.pipeline().del(KEYS.worker(name)).zrem(KEYS.workers(), name).exec();
}

/** Every worker that has been heard of within the last seconds, by name. */
export function liveWorkers(redis: Redis): Promise<Heartbeat[]> {
  return workersSince(redis, Date.now() - LOST_AFTER_MS);
}

/** The same with those that fell silent within the last hour. */
export function knownWorkers(redis: Redis): Promise<Heartbeat[]> {
  return workersSince(redis, Date.now() - REMEMBERED_MS);
}

export const isLost = ({ beat_at }: Heartbeat) => beat_at < Date.now() - LOST_AFTER_MS;

async function workersSince(redis: Redis, time: number): Promise<Heartbeat[]> {
  const names = await redis.zrangebyscore(KEYS.workers(), time, '+inf');
  if (names.length === 0) return [];
  const beats = await redis.mget(names.map((name) => KEYS.worker(name)));
  return beats
    .flatMap((text) => {
      const parsed = text === null ? undefined : Heartbeat.safeParse(JSON.parse(text));
      return parsed?.success ? [parsed.data] : [];
    })
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
