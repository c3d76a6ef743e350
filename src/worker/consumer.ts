import { type Job, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { JobData } from '../contract/task.ts';
import { AppError, LaneLostError } from '../errors.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { announceEnd, whichAreRevoked } from '../queue/cancellations.ts';
import { failureText, LOST_SENTENCE, publicError } from '../queue/failure.ts';
import { PREFIX } from '../queue/keys.ts';
import { LOCK_DURATION_MS, MAX_LOSSES, STALLED_INTERVAL_MS } from '../queue/queues.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import type { Storage } from '../storage/storage.ts';
import { type Outcome, runTask } from './task-runner.ts';

export type ConsumerOptions = {
  kind: Kind;
  workerName: string;
  lanes: Lanes;
  storage: Storage;
  statistics: StatisticsRecorder;
  timeLimitSeconds: number;
  resultTtlSeconds: number;
};

export type CurrentTask = { task_id: string; started_at: number };

export type Consumer = {
  start(): void;
  current(): CurrentTask[];
  totals(): { done: number; failed: number };
  /** Ends the task if it runs here. */
  cancel(taskId: string): void;
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

type Running = { abort: AbortController; startedAt: number };

/** Takes tasks of one queue and runs as many at a time as there are lanes. */
export function createConsumer(connection: Redis, options: ConsumerOptions, log: Logger): Consumer {
  const { kind, lanes, storage, statistics } = options;
  const running = new Map<string, Running>();
  const totals = { done: 0, failed: 0 };
  let draining = false;

  const worker = new Worker(KINDS[kind].queue, process, {
    connection,
    prefix: PREFIX,
    autorun: false,
    name: options.workerName,
    concurrency: lanes.count,
    lockDuration: LOCK_DURATION_MS,
    stalledInterval: STALLED_INTERVAL_MS,
    maxStalledCount: MAX_LOSSES,
    runRetryDelay: 1000,
    removeOnComplete: { age: options.resultTtlSeconds, limit: 1000 },
    removeOnFail: { age: options.resultTtlSeconds, limit: 1000 },
    metrics: { maxDataPoints: 24 * 60 },
  });
  worker.on('error', (error) => log.warn({ err: { message: error.message } }, 'queue connection'));
  worker.on('stalled', (taskId) => {
    statistics.count('stalled');
    log.warn({ taskId }, 'the worker of this task has died; it is queued again');
  });
  worker.on('lockRenewalFailed', (taskIds: string[]) => {
    for (const taskId of taskIds) stop(taskId, 'lock-lost');
  });
  const ended = (job: Job | undefined) => {
    if (job?.id === undefined || job.finishedOn === undefined) return;
    announceEnd(connection, job.id).catch(() => undefined);
  };
  worker.on('completed', ended);
  worker.on('failed', ended);

  function stop(taskId: string, reason: StopReason): void {
    running.get(taskId)?.abort.abort(new Stopped(reason));
  }

  async function handBack(job: Job, token: string | undefined): Promise<never> {
    await job.moveToWait(token);
    throw new WaitingError();
  }

  /** BullMQ's way to say: no further attempt. */
  const final = (error: AppError) => new UnrecoverableError(failureText(error));

  /** A detection process has died under the task: once is forgiven. */
  async function countLoss(job: Job, data: JobData, error: LaneLostError): Promise<never> {
    statistics.count('lanes_lost');
    const losses = data.losses + 1;
    await job.updateData({ ...data, losses });
    if (losses + job.stalledCounter > MAX_LOSSES) throw final(new AppError('WORKER_LOST', LOST_SENTENCE));
    throw error;
  }

  async function refuse(
    job: Job,
    taskId: string,
    data: JobData,
    error: unknown,
    token: string | undefined,
  ): Promise<never> {
    if (error instanceof Stopped) {
      if (error.reason === 'handed-back') return handBack(job, token);
      if (error.reason === 'timeout') {
        statistics.count('timeouts');
        throw final(
          new AppError('TIMEOUT', `The task took longer than the ${options.timeLimitSeconds} s it may take.`),
        );
      }
      if (error.reason === 'revoked') {
        statistics.count('revoked');
        throw new UnrecoverableError('REVOKED: cancelled');
      }
      throw error;
    }
    if (draining && error instanceof LaneLostError) return handBack(job, token);
    if (error instanceof LaneLostError) return countLoss(job, data, error);
    if (error instanceof AppError) throw final(error);
    const attemptsLeft = job.attemptsMade + 1 < (job.opts.attempts ?? 1);
    if (!attemptsLeft) throw final(publicError(error));
    log.warn({ taskId, err: error }, 'attempt failed; the task is tried again');
    throw error;
  }

  async function process(job: Job, token?: string): Promise<Outcome['result']> {
    const taskId = job.id ?? '';
    const startedAt = Date.now();
    const waitMs = Math.max(0, startedAt - job.timestamp);
    const parsed = JobData.safeParse(job.data);
    if (!parsed.success) {
      throw final(new AppError('INTERNAL', 'The task was written by another version of the service.'));
    }
    const data = parsed.data;
    const taskLog = log.child({ taskId, requestId: data.request_id });
    const abort = new AbortController();
    running.set(taskId, { abort, startedAt });
    const limit = setTimeout(() => stop(taskId, 'timeout'), options.timeLimitSeconds * 1000);
    try {
      if (data.losses + job.stalledCounter > MAX_LOSSES) throw new AppError('WORKER_LOST', LOST_SENTENCE);
      if ((await whichAreRevoked(connection, [taskId])).length > 0) throw new Stopped('revoked');
      const { result, timings } = await runTask(taskId, data, waitMs, { lanes, storage }, abort.signal);
      totals.done++;
      statistics.count('succeeded');
      statistics.observe('wait', timings.wait / 1000);
      statistics.observe('run', (timings.total - timings.wait) / 1000);
      statistics.observe('decode', timings.decode / 1000);
      statistics.observe('inference', timings.inference / 1000);
      statistics.observe('postprocess', timings.postprocess / 1000);
      taskLog.info(
        { media: data.media, bytes: data.file.bytes, model: result.model, attempt: job.attemptsStarted, timings },
        'task done',
      );
      return result;
    } catch (error) {
      return await refuse(job, taskId, data, error, token).catch((refusal: unknown) => {
        const willRetry = !(refusal instanceof UnrecoverableError) && !(refusal instanceof WaitingError);
        if (refusal instanceof UnrecoverableError) {
          totals.failed++;
          if (!refusal.message.startsWith('REVOKED')) statistics.count('failed');
          const cause = error instanceof Error && error.cause !== undefined ? String(error.cause) : undefined;
          taskLog.warn(
            {
              media: data.media,
              reason: refusal.message,
              cause,
              attempt: job.attemptsStarted,
              ms: Date.now() - startedAt,
            },
            'task ended without result',
          );
        } else if (willRetry) statistics.count('retried');
        else taskLog.info('task given back to the queue');
        throw refusal;
      });
    } finally {
      clearTimeout(limit);
      running.delete(taskId);
    }
  }

  return {
    start() {
      worker.run().catch((error: unknown) => log.error({ err: error }, 'the consumer ended unexpectedly'));
    },
    current: () => [...running].map(([task_id, { startedAt }]) => ({ task_id, started_at: startedAt })),
    totals: () => ({ ...totals }),
    cancel: (taskId) => stop(taskId, 'revoked'),
    async drain(graceMs) {
      draining = true;
      const closing = worker.close();
      const timer = setTimeout(() => {
        for (const taskId of running.keys()) stop(taskId, 'handed-back');
      }, graceMs);
      // Without Redis the last words of a task cannot be written; the stalled check takes such a task up again.
      const patience = new Promise((resolvePatience) => setTimeout(resolvePatience, graceMs + 1200).unref());
      try {
        await Promise.race([closing, patience]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
