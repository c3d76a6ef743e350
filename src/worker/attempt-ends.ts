import { type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Media, QueueName } from '../contract/kinds.ts';
import { AppError, LaneLostError, TransientError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { AttemptEnd, Attempts } from '../queue/attempts.ts';
import { failureText, LOST_SENTENCE, publicError, REVOKED_REASON } from '../queue/failure.ts';
import { KEYS } from '../queue/keys.ts';
import { MAX_LOSSES } from '../queue/queues.ts';
import { isRefusal } from '../queue/refusals.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import { mediaOf } from './task-ends.ts';

/** Why a running attempt is ended from outside. */
export type StopReason = 'revoked' | 'timeout' | 'handed-back' | 'lock-lost';

export class Stopped extends Error {
  readonly reason: StopReason;
  constructor(reason: StopReason) {
    super(reason);
    this.name = 'Stopped';
    this.reason = reason;
  }
}

export const GIVEN_BACK: AttemptEnd = { how: 'given back to the queue' };

/** Why an attempt failed that is not the last; the rest stands in the stack and in the log. */
const whyTransient = (error: unknown) => (error instanceof TransientError ? error.message : 'an unexpected fault');

/** BullMQ's way to say: no further attempt. */
function final(error: AppError): UnrecoverableError {
  return Object.assign(new UnrecoverableError(failureText(error)), { cause: error.cause });
}

/** Detection processes have died under the task once too often. */
export const workerLost = (cause?: unknown) => new AppError('WORKER_LOST', LOST_SENTENCE, { cause });

type Dependencies = {
  redis: Redis;
  queue: QueueName;
  attempts: Attempts;
  statistics: StatisticsRecorder;
  /** Seconds that an attempt at a picture or a video may take. */
  timeLimits: Record<Media, number>;
  isDraining(): boolean;
  log: Logger;
};

export type AttemptEnds = {
  /**
   * Gives the task back to its queue. Throws what tells BullMQ so.
   *
   * @param begun false for an attempt that has not properly begun: it does not count
   */
  handBack(job: Job, taskId: string, token: string, begun: boolean): Promise<never>;
  /** Decides how a task goes on whose attempt has failed, always by throwing what tells BullMQ. */
  refuse(job: Job, taskId: string, token: string, error: unknown, begun: boolean): Promise<never>;
};

/** What becomes of tasks whose attempt did not succeed. */
export function endAttempts({
  redis,
  queue,
  attempts,
  statistics,
  timeLimits,
  isDraining,
  log,
}: Dependencies): AttemptEnds {
  async function handBack(job: Job, taskId: string, token: string, begun: boolean): Promise<never> {
    await attempts.leave(taskId, GIVEN_BACK);
    if (!begun) await attempts.uncount(taskId);
    await job.moveToWait(token);
    await wakeWorkers();
    log.info({ taskId }, 'task given back to the queue');
    throw new WaitingError();
  }

  /** BullMQ wakes nobody up for a job that comes back; idle workers look again by themselves after some seconds. */
  async function wakeWorkers(): Promise<void> {
    try {
      await redis.zadd(KEYS.marker(queue), 0, '0');
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
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

  async function refuse(job: Job, taskId: string, token: string, error: unknown, begun: boolean): Promise<never> {
    const reason = error instanceof Stopped ? error.reason : undefined;
    switch (reason) {
      case 'lock-lost':
        throw error;
      case 'handed-back':
        return handBack(job, taskId, token, begun);
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
    if (isDraining()) return handBack(job, taskId, token, begun);
    statistics.count('lanes_lost');
    const losses = await attempts.lose(taskId, { how: 'the detection process died', cause: error });
    return losses > MAX_LOSSES ? giveUp(taskId, workerLost(error)) : retry(job, taskId, error);
  }

  return { handBack, refuse };
}
