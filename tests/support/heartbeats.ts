import type { Redis } from 'ioredis';
import { beat, type Heartbeat } from '../../src/queue/heartbeat.ts';
import { KEYS } from '../../src/queue/keys.ts';

/** The heartbeat of a face worker that is there and idle, but for what a test says of it. */
export function heartbeatOf(said: Partial<Heartbeat>): Heartbeat {
  return {
    id: 'one',
    name: 'face_worker_1',
    kind: 'face',
    host: 'elsewhere',
    pid: 4,
    state: 'ready',
    concurrency: 2,
    current: [],
    done: 0,
    failed: 0,
    retried: 0,
    load: 0,
    cpu_percent: 0,
    rss: 1,
    lanes: [],
    model: null,
    models: [],
    started_at: Date.now(),
    beat_at: Date.now(),
    ...said,
  };
}

/** The last word of a worker, as if Redis had heard it so many ms ago. */
export async function beatOnceBefore(redis: Redis, heartbeat: Heartbeat, ms: number): Promise<void> {
  await beat(redis, heartbeat);
  await redis.zadd(KEYS.workers(), Date.now() - ms, heartbeat.name);
}
