import { type Job, UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Media } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import { JobData } from '../contract/task.ts';
import type { Logger } from '../log.ts';
import { announceEnd } from '../queue/cancellations.ts';
import { REVOKED_REASON } from '../queue/failure.ts';
import type { Series, StatisticsRecorder } from '../queue/statistics.ts';

export type Ends = { totals(): { done: number; failed: number; retried: number } };

/** What the job says of itself; its data may be unreadable. */
export const mediaOf = (job: Job): Media => (job.name === 'video' ? 'video' : 'image');

const STAGES = ['decode', 'inference', 'postprocess'] as const;

/**
 * Counts, logs and announces how attempts end, each once Redis has it in writing.
 *
 * @param waitOf how long a job had waited for its attempt in ms, undefined where that had not properly begun
 */
export function recordEnds(
  worker: Worker<unknown, TaskResult>,
  redis: Redis,
  statistics: StatisticsRecorder,
  waitOf: (job: Job) => number | undefined,
  log: Logger,
): Ends {
  const totals = { done: 0, failed: 0, retried: 0 };

  function about(job: Job): Record<string, unknown> {
    const data = JobData.safeParse(job.data).data;
    return {
      taskId: job.id,
      requestId: data?.request_id,
      media: data?.media,
      bytes: data?.file.bytes,
      attempt: job.attemptsStarted,
    };
  }

  function announce(job: Job): void {
    announceEnd(redis, job.id ?? '').catch(() => undefined);
  }

  worker.on('completed', (job, { model, timings_ms: timings }) => {
    totals.done++;
    statistics.count('succeeded');
    const series: Series = { media: mediaOf(job), model };
    statistics.observe('wait', series, timings.wait / 1000);
    statistics.observe('run', series, (timings.total - timings.wait) / 1000);
    for (const stage of STAGES) statistics.observe(stage, series, timings[stage] / 1000);
    log.info({ ...about(job), model, timings }, 'task done');
    announce(job);
  });

  worker.on('failed', (job, error) => {
    if (job === undefined) return;
    if (job.finishedOn === undefined) {
      totals.retried++;
      statistics.count('retried');
      return;
    }
    const revoked = error.message === REVOKED_REASON;
    if (!revoked) totals.failed++;
    statistics.count(revoked ? 'revoked' : 'failed');
    const startedAt = job.processedOn ?? job.finishedOn;
    const ms = job.finishedOn - startedAt;
    if (!revoked) statistics.observeFailure((waitOf(job) ?? Math.max(0, startedAt - job.timestamp)) / 1000, ms / 1000);
    const cause = error instanceof UnrecoverableError ? error.cause : undefined;
    log.warn({ ...about(job), reason: error.message, err: cause, ms }, 'task ended without result');
    announce(job);
  });

  return { totals: () => ({ ...totals }) };
}
