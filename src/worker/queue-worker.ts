import { type Processor, Worker, type WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import type { Logger } from '../log.ts';
import { seldom } from '../log-seldom.ts';
import { PREFIX } from '../queue/keys.ts';
import { patientBackend } from '../queue/patient-backend.ts';
import { LOCK_DURATION_MS, LOCK_RENEWAL_MS, MAX_STARTS, STALLED_INTERVAL_MS } from '../queue/queues.ts';
import { isRefusal } from '../queue/refusals.ts';
import { sealingBackend } from '../queue/sealed-jobs.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Tracing } from '../telemetry/tracing.ts';

export type QueueWorker = Worker<unknown, TaskResult>;

export type QueueWorkerOptions = {
  workerName: string;
  concurrency: number;
  keyring: Keyring;
  resultTtlSeconds: number;
  tracing: Tracing | undefined;
};

/** BullMQ must never fail a job for having stalled: our own account of attempts knows better. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** How often a worker whose queue has reached its rate limit looks whether it is lifted. */
const LOOK_AT_LIMIT_MS = 1000;

/**
 * BullMQ's worker of one queue as we want it; not started yet.
 *
 * @param onRefusal is called whenever Redis answers that it takes no writes
 */
export function createQueueWorker(
  redis: Redis,
  queue: QueueName,
  { workerName, concurrency, keyring, resultTtlSeconds, tracing }: QueueWorkerOptions,
  handle: Processor<unknown, TaskResult>,
  onRefusal: () => void,
  log: Logger,
): QueueWorker {
  const keep = { age: resultTtlSeconds, limit: 1000 };
  const settings: WorkerOptions = {
    connection: redis,
    prefix: PREFIX,
    autorun: false,
    name: workerName,
    concurrency,
    lockDuration: LOCK_DURATION_MS,
    lockRenewTime: LOCK_RENEWAL_MS,
    // It is made in our own rounds; BullMQ only sees to it that several workers do not make it more often.
    skipStalledCheck: true,
    stalledInterval: 0.9 * STALLED_INTERVAL_MS,
    maxStalledCount: NEVER,
    maxStartedAttempts: MAX_STARTS,
    runRetryDelay: 1000,
    maximumRateLimitDelay: LOOK_AT_LIMIT_MS,
    removeOnComplete: keep,
    removeOnFail: keep,
    metrics: { maxDataPoints: 24 * 60 },
    ...(tracing === undefined ? {} : { telemetry: tracing.queue }),
  };
  const backend = patientBackend(redis, queue, sealingBackend(keyring));
  const worker: QueueWorker = new Worker<unknown, TaskResult>(queue, handle, settings, backend);
  const mayTell = seldom();
  worker.on('error', (error) => {
    const refused = isRefusal(error);
    if (refused) onRefusal();
    // What a connection suffers is logged where it is made.
    if (redis.status !== 'ready' || !mayTell(error.message)) return;
    log.warn({ err: { message: error.message } }, refused ? 'Redis takes no writes; trying again' : 'queue connection');
  });
  return worker;
}
