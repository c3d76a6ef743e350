import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Worker, type WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { KINDS, type Kind, type Media } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import { JobData } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { trackAttempts } from '../queue/attempts.ts';
import { PREFIX } from '../queue/keys.ts';
import { LOCK_DURATION_MS, LOCK_RENEWAL_MS, MAX_LOSSES, MAX_STARTS, STALLED_INTERVAL_MS } from '../queue/queues.ts';
import { sealingBackend, unreadableData } from '../queue/sealed-jobs.ts';
import { watchForStalled } from '../queue/stalled.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Storage } from '../storage/storage.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { endAttempts, Stopped, type StopReason, workerLost } from './attempt-ends.ts';
import { mediaOf, recordEnds } from './task-ends.ts';
import { runTask } from './task-runner.ts';
import { createVideoGate } from './video-gate.ts';

export type ConsumerOptions = {
  kind: Kind;
  workerName: string;
  /** Under which this process says that it lives. */
  workerId: string;
  lanes: Lanes;
  storage: Storage;
  statistics: StatisticsRecorder;
  tracing: Tracing | undefined;
  /** Seconds that an attempt at a picture or a video may take. */
  timeLimits: Record<Media, number>;
  keyring: Keyring;
  resultTtlSeconds: number;
};

export type CurrentTask = { task_id: string; started_at: number; media: Media; percent?: number };

export type Consumer = {
  start(): void;
  current(): CurrentTask[];
  totals(): { done: number; failed: number; retried: number };
  /** Ends the task if it runs here. */
  cancel(taskId: string): void;
  /** Takes no more and lets what runs finish, until it is told to go on. */
  rest(on: boolean): void;
  /** Runs so many tasks at a time from now on. */
  resize(slots: number): void;
  /** Takes no more, lets what runs finish for so long, gives the rest back to the queue. */
  drain(graceMs: number): Promise<void>;
};

type Running = { abort: AbortController; startedAt: number; token: string; media: Media; percent?: number };

/** BullMQ must never fail a job for having stalled: {@link trackAttempts} knows better. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** At the end of a drain: what it may take to end detection processes, and then to write what tasks have come to. */
const HAND_BACK_MS = 300;
const LAST_WORDS_MS = 500;

/** The parts of a detection, for its trace. */
const stagesOf = ({ timings_ms: timings }: TaskResult) =>
  (['decode', 'inference', 'postprocess', 'annotate'] as const).map((name) => ({ name, ms: timings[name] }));

/** Takes tasks of one queue and runs as many at a time as there are lanes. */
export function createConsumer(redis: Redis, options: ConsumerOptions, log: Logger): Consumer {
  const { kind, lanes, storage, statistics, tracing, timeLimits } = options;
  const { queue } = KINDS[kind];
  const running = new Map<string, Running>();
  const attempts = trackAttempts(redis, queue, { id: options.workerId, name: options.workerName }, options.keyring);
  let draining = false;
  let resting = false;
  let outages = 0;
  let stalled: { stop(): void } | undefined;

  const settings: WorkerOptions = {
    connection: redis,
    prefix: PREFIX,
    autorun: false,
    name: options.workerName,
    concurrency: lanes.count,
    lockDuration: LOCK_DURATION_MS,
    lockRenewTime: LOCK_RENEWAL_MS,
    // It is made in our own rounds; BullMQ only sees to it that several workers do not make it more often.
    skipStalledCheck: true,
    stalledInterval: 0.9 * STALLED_INTERVAL_MS,
    maxStalledCount: NEVER,
    maxStartedAttempts: MAX_STARTS,
    runRetryDelay: 1000,
    removeOnComplete: { age: options.resultTtlSeconds, limit: 1000 },
    removeOnFail: { age: options.resultTtlSeconds, limit: 1000 },
    metrics: { maxDataPoints: 24 * 60 },
    ...(tracing === undefined ? {} : { telemetry: tracing.queue }),
  };
  const worker = new Worker<unknown, TaskResult>(queue, handle, settings, sealingBackend(options.keyring));
  worker.on('error', (error) => {
    // What a connection suffers is logged where it is made.
    if (redis.status === 'ready') log.warn({ err: { message: error.message } }, 'queue connection');
  });
  worker.on('lockRenewalFailed', (taskIds: string[]) => {
    for (const taskId of taskIds) void keepOrStop(taskId);
  });
  const gate = createVideoGate(worker, redis, () => worker.concurrency, log);
  const { handBack, refuse } = endAttempts({
    redis,
    queue,
    attempts,
    statistics,
    timeLimits,
    isDraining: () => draining,
    log,
  });
  const ends = recordEnds(worker, redis, statistics, log);
  const onOutage = () => {
    outages++;
  };
  redis.on('close', onOutage);

  function stop(taskId: string, reason: StopReason): void {
    running.get(taskId)?.abort.abort(new Stopped(reason));
  }

  /** A lock runs out while Redis is away; the task goes on where no other worker has taken it since. */
  async function keepOrStop(taskId: string): Promise<void> {
    const token = running.get(taskId)?.token;
    if (token === undefined) return;
    const held = await attempts.hold(taskId, token).catch(() => true);
    if (!held) stop(taskId, 'lock-lost');
  }

  async function attempt(job: Job, taskId: string, current: Running): Promise<TaskResult> {
    const { abort, startedAt } = current;
    const data = JobData.safeParse(job.data).data;
    if (data === undefined)
      throw (
        unreadableData(job.data) ?? new AppError('INTERNAL', 'The task was written by another version of the service.')
      );
    const { revoked, losses } = await attempts.begin(taskId);
    if (revoked) throw new Stopped('revoked');
    if (losses > MAX_LOSSES) throw workerLost();
    const waitMs = Math.max(0, startedAt - job.timestamp);
    const limit = setTimeout(() => stop(taskId, 'timeout'), timeLimits[data.media] * 1000);
    const run = () =>
      runTask(taskId, data, waitMs, { lanes, storage }, abort.signal, (progress) => {
        current.percent = progress.percent;
        job.updateProgress(progress).catch(() => undefined);
      });
    try {
      if (tracing === undefined) return await run();
      const { media, options: asked } = data;
      const attributes = {
        'recognize.task_id': taskId,
        'recognize.request_id': data.request_id,
        'recognize.worker': options.workerName,
        'recognize.kind': kind,
        'recognize.media': media,
        'recognize.model': asked.model,
        'recognize.wait_ms': waitMs,
      };
      return await tracing.span(`detect ${kind} ${media}`, attributes, run, stagesOf);
    } finally {
      clearTimeout(limit);
    }
  }

  /** What a task comes to can only be written with its lock, which may have run out together with Redis. */
  async function ensureLock(taskId: string, token: string, outagesBefore: number): Promise<void> {
    if (outages === outagesBefore && redis.status === 'ready') return;
    if (!(await attempts.hold(taskId, token))) throw new Stopped('lock-lost');
  }

  async function handle(job: Job, token = ''): Promise<TaskResult> {
    const taskId = job.id ?? '';
    const isVideo = mediaOf(job) === 'video';
    if (draining) return handBack(job, taskId, token);
    if (resting || !gate.enter(isVideo)) {
      await attempts.uncount(taskId);
      return handBack(job, taskId, token);
    }
    const outagesBefore = outages;
    const current: Running = { abort: new AbortController(), startedAt: Date.now(), token, media: mediaOf(job) };
    running.set(taskId, current);
    try {
      const result = await attempt(job, taskId, current);
      await ensureLock(taskId, token, outagesBefore);
      return result;
    } catch (error) {
      await ensureLock(taskId, token, outagesBefore);
      return await refuse(job, taskId, token, error);
    } finally {
      running.delete(taskId);
      gate.leave(isVideo);
    }
  }

  async function whenIdle(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs;
    while (running.size > 0 && performance.now() < until) await sleep(20);
  }

  return {
    start() {
      worker.run().catch((error: unknown) => log.error({ err: error }, 'the consumer ended unexpectedly'));
      stalled = watchForStalled(
        redis,
        () => worker.getBackend().moveStalledJobsToWait(),
        (taskId) => {
          statistics.count('stalled');
          log.warn({ taskId }, 'the worker of this task has fallen silent; the task is queued again');
        },
        log,
      );
    },
    current: () =>
      [...running].map(([task_id, { startedAt, media, percent }]) => ({
        task_id,
        started_at: startedAt,
        media,
        ...(percent === undefined ? {} : { percent }),
      })),
    totals: ends.totals,
    cancel: (taskId) => stop(taskId, 'revoked'),
    rest(on) {
      resting = on;
      gate.rest(on);
    },
    resize(slots) {
      lanes.resize(slots);
      worker.concurrency = slots;
      gate.refresh();
    },
    async drain(graceMs) {
      draining = true;
      gate.stop();
      stalled?.stop();
      const closed = worker.close().catch((error: unknown) => log.warn({ err: error }, 'closing the consumer'));
      const handBackAll = setTimeout(() => {
        for (const taskId of running.keys()) stop(taskId, 'handed-back');
      }, graceMs);
      // Without Redis nothing can be written or given back; another worker will find what is left.
      await Promise.race([closed, whenIdle(graceMs + HAND_BACK_MS).then(() => sleep(LAST_WORDS_MS))]);
      clearTimeout(handBackAll);
      redis.off('close', onOutage);
    },
  };
}
