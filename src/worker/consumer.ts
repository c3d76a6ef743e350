import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, UnrecoverableError, WaitingError, Worker, type WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { KINDS, type Kind, type Media } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import { JobData } from '../contract/task.ts';
import { AppError, LaneLostError, TransientError } from '../errors.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { trackAttempts } from '../queue/attempts.ts';
import { failureText, LOST_SENTENCE, publicError, REVOKED_REASON } from '../queue/failure.ts';
import { KEYS, PREFIX } from '../queue/keys.ts';
import { LOCK_DURATION_MS, LOCK_RENEWAL_MS, MAX_LOSSES, MAX_STARTS, STALLED_INTERVAL_MS } from '../queue/queues.ts';
import { sealingBackend, unreadableData } from '../queue/sealed-jobs.ts';
import { watchForStalled } from '../queue/stalled.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Storage } from '../storage/storage.ts';
import type { Tracing } from '../telemetry/tracing.ts';
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

/** Why a running attempt is ended from outside. */
type StopReason = 'revoked' | 'timeout' | 'handed-back' | 'lock-lost';

class Stopped extends Error {
  readonly reason: StopReason;
  constructor(reason: StopReason) {
    super(reason);
    this.reason = reason;
  }
}

type Running = { abort: AbortController; startedAt: number; token: string; media: Media; percent?: number };

/** BullMQ must never fail a job for having stalled: {@link trackAttempts} knows better. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** At the end of a drain: what it may take to end detection processes, and then to write what tasks have come to. */
const HAND_BACK_MS = 300;
const LAST_WORDS_MS = 500;

/** Why an attempt failed that is not the last; the rest stands in the stack and in the log. */
const whyTransient = (error: unknown) => (error instanceof TransientError ? error.message : 'an unexpected fault');

/** The parts of a detection, for its trace. */
const stagesOf = ({ timings_ms: timings }: TaskResult) =>
  (['decode', 'inference', 'postprocess', 'annotate'] as const).map((name) => ({ name, ms: timings[name] }));

/** BullMQ's way to say: no further attempt. */
function final(error: AppError): UnrecoverableError {
  return Object.assign(new UnrecoverableError(failureText(error)), { cause: error.cause });
}

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

  async function handBack(job: Job, taskId: string, token: string): Promise<never> {
    await attempts.leave(taskId, { how: 'given back to the queue' });
    await job.moveToWait(token);
    // BullMQ wakes nobody up for a job that comes back.
    await redis.zadd(KEYS.marker(queue), 0, '0');
    log.info({ taskId }, 'task given back to the queue');
    throw new WaitingError();
  }

  /** The task is tried again after a while, as often as the job's options allow. */
  async function retry(job: Job, taskId: string, error: unknown): Promise<never> {
    const refusal = final(publicError(error));
    if (job.attemptsMade + 1 >= (job.opts.attempts ?? 1)) {
      await attempts.end(taskId, { how: refusal.message, cause: error });
      throw refusal;
    }
    if (!(error instanceof LaneLostError)) await attempts.leave(taskId, { how: whyTransient(error), cause: error });
    log.warn({ taskId, err: error }, 'attempt failed; the task is tried again');
    throw new Error(refusal.message);
  }

  async function giveUp(taskId: string, error: AppError): Promise<never> {
    await attempts.end(taskId, { how: failureText(error), cause: error.cause });
    throw final(error);
  }

  /** How an attempt that has failed goes on: always by throwing what tells BullMQ. */
  async function refuse(job: Job, taskId: string, token: string, error: unknown): Promise<never> {
    const reason = error instanceof Stopped ? error.reason : undefined;
    switch (reason) {
      case 'lock-lost':
        throw error;
      case 'handed-back':
        return handBack(job, taskId, token);
      case 'timeout':
        statistics.count('timeouts');
        return giveUp(
          taskId,
          new AppError('TIMEOUT', `The task took longer than the ${timeLimits[mediaOf(job)]} s it may take.`),
        );
      case 'revoked':
        await attempts.end(taskId, { how: REVOKED_REASON });
        throw new UnrecoverableError(REVOKED_REASON);
    }
    if (error instanceof AppError) return giveUp(taskId, error);
    if (!(error instanceof LaneLostError)) return retry(job, taskId, error);
    if (draining) return handBack(job, taskId, token);
    statistics.count('lanes_lost');
    const losses = await attempts.lose(taskId, { how: 'the detection process died', cause: error });
    return losses > MAX_LOSSES ? giveUp(taskId, lost(error)) : retry(job, taskId, error);
  }

  const lost = (cause?: unknown) => new AppError('WORKER_LOST', LOST_SENTENCE, { cause });

  async function attempt(job: Job, taskId: string, current: Running): Promise<TaskResult> {
    const { abort, startedAt } = current;
    const data = JobData.safeParse(job.data).data;
    if (data === undefined)
      throw (
        unreadableData(job.data) ?? new AppError('INTERNAL', 'The task was written by another version of the service.')
      );
    const { revoked, losses } = await attempts.begin(taskId);
    if (revoked) throw new Stopped('revoked');
    if (losses > MAX_LOSSES) throw lost();
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
