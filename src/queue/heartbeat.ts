import type { Redis } from 'ioredis';
import { z } from 'zod';
import { KIND_NAMES } from '../contract/kinds.ts';
import { KEYS } from './keys.ts';

/** What a worker says of itself, every {@link HEARTBEAT_MS}. */
export const Heartbeat = z.object({
  name: z.string(),
  kind: z.enum(KIND_NAMES),
  host: z.string(),
  pid: z.int(),
  state: z.enum(['starting', 'ready', 'draining']),
  /** Why it takes no work while it is starting. */
  reason: z.string().optional(),
  concurrency: z.int(),
  current: z.array(z.object({ task_id: z.string(), started_at: z.number() })),
  done: z.int(),
  failed: z.int(),
  /** Resident memory in bytes, of the worker itself and of its detection processes. */
  rss: z.int(),
  lanes: z.array(z.object({ pid: z.int(), rss: z.int() })),
  model: z.string().nullable(),
  started_at: z.number(),
  beat_at: z.number(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HEARTBEAT_MS = 2000;

/** A worker that has been silent for so long is gone; its heartbeat expires by itself. */
const EXPIRY_MS = 10_000;

export async function beat(redis: Redis, heartbeat: Heartbeat): Promise<void> {
  await redis
    .pipeline()
    .set(KEYS.worker(heartbeat.name), JSON.stringify(heartbeat), 'PX', EXPIRY_MS)
    .zadd(KEYS.workers(), heartbeat.beat_at, heartbeat.name)
    .zremrangebyscore(KEYS.workers(), '-inf', heartbeat.beat_at - 3_600_000)
    .exec();
}

export async function signOff(redis: Redis, name: string): Promise<void> {
  await redis.pipeline().del(KEYS.worker(name)).zrem(KEYS.workers(), name).exec();
}

/** Every worker that has been heard of within the last seconds, by name. */
export async function liveWorkers(redis: Redis): Promise<Heartbeat[]> {
  const names = await redis.zrangebyscore(KEYS.workers(), Date.now() - EXPIRY_MS, '+inf');
  if (names.length === 0) return [];
  const beats = await redis.mget(names.map((name) => KEYS.worker(name)));
  return beats
    .flatMap((text) => {
      const parsed = text === null ? undefined : Heartbeat.safeParse(JSON.parse(text));
      return parsed?.success ? [parsed.data] : [];
    })
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
