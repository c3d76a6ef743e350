import type { Redis } from 'ioredis';
import { Gauge, Registry } from 'prom-client';
import { KIND_NAMES, KINDS } from '../contract/kinds.ts';
import { queueDepth } from './depth.ts';
import { isLost, knownWorkers } from './heartbeat.ts';
import type { Queues } from './queues.ts';
import { readRedisMemory } from './redis-memory.ts';

/** Prometheus text of how queues, workers and Redis stand at this moment. */
export async function liveMetrics(redis: Redis, queues: Queues): Promise<string> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = ['queue']) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const jobs = gauge('recognize_queue_tasks', 'Tasks in the queue by state', ['queue', 'state']);
  const depth = gauge('recognize_queue_depth', 'Tasks that wait, are due or run');
  const oldest = gauge('recognize_queue_oldest_waiting_seconds', 'Age of the task that has waited longest');
  const paused = gauge('recognize_queue_paused', '1 where the queue is paused');
  const online = gauge('recognize_workers_online', 'Workers heard of within the last seconds');
  const lost = gauge('recognize_workers_lost', 'Workers that fell silent within the last hour without a farewell');
  const slots = gauge('recognize_slots', 'Detection slots of all workers that take tasks');
  const busy = gauge('recognize_slots_busy', 'Those of them that are at work');
  const memory = gauge('recognize_worker_resident_bytes', 'Resident memory of a worker with its detection processes', [
    'queue',
    'worker',
  ]);
  const redisUsed = gauge('recognize_redis_memory_bytes', 'Memory that Redis has taken', []);
  const redisLimit = gauge('recognize_redis_memory_max_bytes', 'Memory that Redis may take', []);

  async function ofQueue(kind: (typeof KIND_NAMES)[number]): Promise<void> {
    const { queue } = KINDS[kind];
    const [found, isPaused] = await Promise.all([queueDepth(redis, queues, kind), queues[kind].isPaused()]);
    const { waiting, prioritized, active, delayed_due } = found;
    for (const [state, value] of Object.entries({ waiting, prioritized, active, delayed_due }))
      jobs.set({ queue, state }, value);
    depth.set({ queue }, found.depth);
    oldest.set({ queue }, found.oldest_waiting_s);
    paused.set({ queue }, isPaused ? 1 : 0);
  }

  const [known, redisMemory] = await Promise.all([
    knownWorkers(redis),
    readRedisMemory(redis),
    ...KIND_NAMES.map(ofQueue),
  ]);
  if (redisMemory.usedBytes !== undefined) redisUsed.set(redisMemory.usedBytes);
  if (redisMemory.limitBytes !== undefined) redisLimit.set(redisMemory.limitBytes);
  for (const kind of KIND_NAMES) {
    const { queue } = KINDS[kind];
    const ofKind = known.filter((worker) => worker.kind === kind);
    const mine = ofKind.filter((worker) => !isLost(worker));
    const taking = mine.filter(({ state }) => state === 'ready');
    online.set({ queue }, mine.length);
    lost.set({ queue }, ofKind.length - mine.length);
    slots.set(
      { queue },
      taking.reduce((sum, worker) => sum + worker.concurrency, 0),
    );
    // Of the same workers: those that drain still run something, on slots that nobody can have any more.
    busy.set(
      { queue },
      taking.reduce((sum, worker) => sum + worker.current.length, 0),
    );
    for (const { name, rss, lanes } of mine)
      memory.set(
        { queue, worker: name },
        lanes.reduce((sum, lane) => sum + lane.rss, rss),
      );
  }
  return registry.metrics();
}
