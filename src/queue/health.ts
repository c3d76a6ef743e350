import type { Redis } from 'ioredis';
import type { DetectionHealth, Health, RedisHealth, StorageHealth } from '../contract/health.ts';
import { KIND_NAMES, KINDS, type Kind } from '../contract/kinds.ts';
import { queueDepth } from './depth.ts';
import { liveWorkers, NO_MODEL } from './heartbeat.ts';
import type { Queues } from './queues.ts';

const nothingKnown = (reason: string): DetectionHealth => ({
  up: false,
  workers: 0,
  slots: 0,
  busy: 0,
  waiting: 0,
  oldest_waiting_s: 0,
  model: null,
  reason,
});

function services(redis: RedisHealth, ofKind: (kind: Kind) => DetectionHealth): Health['services'] {
  return {
    redis,
    ...Object.fromEntries(KIND_NAMES.map((kind) => [KINDS[kind].queue, ofKind(kind)])),
  } as Health['services'];
}

function whyDown(workers: { reason?: string | undefined }[], kind: Kind, missingModel: boolean): string | undefined {
  if (workers.length === 0) return missingModel ? noModel(kind) : 'no worker is running';
  const reason = workers[0]?.reason;
  return reason === NO_MODEL ? noModel(kind) : reason;
}

const noModel = (kind: Kind) => `there is no model for ${kind} detection; \`npm run models -- pull\` fetches one`;

/**
 * How the service stands: down without Redis, degraded where a kind has no worker that takes work or no model, or where
 * files cannot be stored.
 *
 * @param hasModel whether this process sees a model for a kind
 * @param lookAtStorage must answer within about as long as Redis may take
 */
export async function readHealth(
  redis: Redis,
  queues: Queues,
  hasModel: (kind: Kind) => Promise<boolean>,
  lookAtStorage: () => Promise<StorageHealth>,
): Promise<Health> {
  const start = performance.now();
  const looking = lookAtStorage();
  try {
    await redis.ping();
    const latency_ms = Math.round((performance.now() - start) * 100) / 100;
    const workers = await liveWorkers(redis);
    const found = await Promise.all(
      KIND_NAMES.map(async (kind): Promise<[Kind, DetectionHealth]> => {
        const [depth, modelHere] = await Promise.all([queueDepth(redis, queues, kind), hasModel(kind)]);
        const mine = workers.filter((worker) => worker.kind === kind);
        const ready = mine.filter((worker) => worker.state === 'ready');
        const reason = ready.length > 0 ? (modelHere ? undefined : noModel(kind)) : whyDown(mine, kind, !modelHere);
        return [
          kind,
          {
            up: ready.length > 0 && modelHere,
            workers: mine.length,
            slots: ready.reduce((sum, worker) => sum + worker.concurrency, 0),
            busy: ready.reduce((sum, worker) => sum + worker.current.length, 0),
            waiting: depth.waiting + depth.prioritized + depth.delayed_due,
            oldest_waiting_s: depth.oldest_waiting_s,
            model: ready[0]?.model ?? null,
            ...(reason === undefined ? {} : { reason }),
          },
        ];
      }),
    );
    const byKind = new Map(found);
    const storage = await looking;
    const allUp = storage.up && found.every(([, health]) => health.up);
    return {
      status: allUp ? 'ok' : 'degraded',
      mode: 'async',
      storage,
      services: services({ up: true, latency_ms }, (kind) => byKind.get(kind) ?? nothingKnown('unknown')),
    };
  } catch {
    return {
      status: 'down',
      mode: 'async',
      storage: await looking,
      services: services({ up: false, latency_ms: null, reason: 'Redis does not answer' }, () =>
        nothingKnown('unknown while Redis does not answer'),
      ),
    };
  }
}

/** The same for the sync mode, where this process has the only slots and there is no Redis. */
export function syncHealth(
  ofKind: (kind: Kind) => Pick<DetectionHealth, 'slots' | 'busy' | 'waiting' | 'oldest_waiting_s' | 'model'> & {
    reason: string | undefined;
  },
  storage: StorageHealth,
): Health {
  const detail = (kind: Kind): DetectionHealth => {
    const { model, reason = model === null ? noModel(kind) : undefined, ...rest } = ofKind(kind);
    return { up: reason === undefined, workers: 0, model, ...rest, ...(reason === undefined ? {} : { reason }) };
  };
  return {
    status: storage.up && KIND_NAMES.every((kind) => detail(kind).up) ? 'ok' : 'degraded',
    mode: 'sync',
    storage,
    services: services({ up: false, latency_ms: null, reason: 'not used in sync mode' }, detail),
  };
}
