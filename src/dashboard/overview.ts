import type { Redis } from 'ioredis';
import type { History, Overview, QueueView } from '../contract/admin.ts';
import { WINDOWS, type Window } from '../contract/admin-requests.ts';
import { KIND_NAMES, KINDS, QUEUE_NAMES, type QueueName } from '../contract/kinds.ts';
import { queueDepth } from '../queue/depth.ts';
import { knownWorkers } from '../queue/heartbeat.ts';
import type { HistoryReader } from '../queue/history-reader.ts';
import { KEYS } from '../queue/keys.ts';
import { readHolds } from '../queue/queue-holds.ts';
import type { Queues } from '../queue/queues.ts';
import { readRedisMemory } from '../queue/redis-memory.ts';
import type { StorageWatch } from '../storage/storage-watch.ts';
import { viewWorker } from './worker-views.ts';

const RECENT_MINUTES = 5;
const STEP_MINUTES = 10;

type Sources = { redis: Redis; queues: Queues; history: HistoryReader; storage: StorageWatch };

async function countsOf(
  redis: Redis,
  queue: QueueName,
): Promise<
  Pick<QueueView, 'paused' | 'global_concurrency' | 'global_rate_limit' | 'delayed' | 'completed' | 'failed'>
> {
  const [{ paused, concurrency, rateLimit }, delayed, completed, failed] = await Promise.all([
    readHolds(redis, queue),
    redis.zcard(KEYS.delayed(queue)),
    redis.zcard(KEYS.completed(queue)),
    redis.zcard(KEYS.failed(queue)),
  ]);
  return { paused, global_concurrency: concurrency, global_rate_limit: rateLimit, delayed, completed, failed };
}

const rate = (good: number, bad: number) =>
  good + bad === 0 ? null : Math.round((good / (good + bad)) * 10_000) / 10_000;
const perMinute = (count: number) => Math.round((count / RECENT_MINUTES) * 100) / 100;

/** Queues, workers and Redis at a glance; rates and percentiles over the window. */
export async function readOverview({ redis, queues, history, storage }: Sources, window: Window): Promise<Overview> {
  const start = performance.now();
  await redis.ping();
  const latency_ms = Math.round((performance.now() - start) * 100) / 100;
  const [{ up, reason = null }, memory, heartbeats, views] = await Promise.all([
    storage.state(),
    readRedisMemory(redis),
    knownWorkers(redis),
    Promise.all(
      KIND_NAMES.map(async (kind): Promise<Omit<QueueView, 'slots'>> => {
        const { queue } = KINDS[kind];
        const [depth, counts, recent, totals] = await Promise.all([
          queueDepth(redis, queues, kind),
          countsOf(redis, queue),
          history.totals(queue, RECENT_MINUTES),
          history.totals(queue, WINDOWS[window]),
        ]);
        const { waiting: _most, ...shown } = totals;
        return {
          queue,
          ...counts,
          waiting: depth.waiting,
          prioritized: depth.prioritized,
          active: depth.active,
          oldest_waiting_s: depth.oldest_waiting_s,
          succeeded_per_minute: perMinute(recent.succeeded),
          failed_per_minute: perMinute(recent.failed),
          success_rate: rate(totals.succeeded, totals.failed),
          totals: shown,
        };
      }),
    ),
  ]);
  const workers = heartbeats.map(viewWorker);
  const count = (...states: string[]) => workers.filter(({ state }) => states.includes(state)).length;
  const taking = workers.filter(({ state }) => state === 'idle' || state === 'busy');
  const slotsOf = (some: typeof taking) => some.reduce((total, worker) => total + worker.concurrency, 0);
  const sum = (of: (view: Omit<QueueView, 'slots'>) => number) => views.reduce((total, view) => total + of(view), 0);
  return {
    storage: { up, reason },
    redis: { latency_ms, used_bytes: memory.usedBytes ?? null, limit_bytes: memory.limitBytes ?? null },
    workers: {
      online: workers.length - count('lost'),
      busy: count('busy'),
      starting: count('starting'),
      draining: count('draining'),
      lost: count('lost'),
      slots: slotsOf(taking),
      slots_busy: taking.reduce((total, worker) => total + worker.current.length, 0),
    },
    window,
    success_rate: rate(
      sum(({ totals }) => totals.succeeded),
      sum(({ totals }) => totals.failed),
    ),
    queues: views.map((view) => ({ ...view, slots: slotsOf(taking.filter(({ queue }) => queue === view.queue)) })),
  };
}

/** The last day in steps. */
export async function readHistory(history: HistoryReader): Promise<History> {
  const queues = await Promise.all(
    QUEUE_NAMES.map(async (queue) => ({
      queue,
      points: (await history.points(queue, STEP_MINUTES)).map(({ at, succeeded, failed, waiting, wait, run }) => ({
        at: new Date(at).toISOString(),
        succeeded,
        failed,
        waiting,
        wait_p95: wait.p95,
        run_p95: run.p95,
      })),
    })),
  );
  return { step_s: STEP_MINUTES * 60, queues };
}
