import type { Job } from 'bullmq';
import { KIND_NAMES, KINDS, type Kind, kindOfQueue } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import { RunningProgress } from '../contract/running-progress.ts';
import { JobData, type Progress, type Task, type TaskState } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { OTHER_VERSION_SENTENCE, parseFailure } from './failure.ts';
import { whyUnreadable } from './sealed-jobs.ts';

/** How a job that has not ended stands in BullMQ. */
export type OpenState = 'waiting' | 'active' | 'delayed';

const isoTime = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());

/** What a job carries; undefined where another version of the service wrote it, or the key to it is missing. */
export function readJobData(job: Job): JobData | undefined {
  return JobData.safeParse(job.data).data;
}

/** Why what the job carries, or its result, cannot be read here; undefined where all can. */
export function unreadablePart(job: Job): AppError | undefined {
  const why = whyUnreadable(job.returnvalue) ?? whyUnreadable(job.data);
  if (why !== undefined || readJobData(job) !== undefined) return why;
  return new AppError('INTERNAL', OTHER_VERSION_SENTENCE);
}

function statusSentence(state: TaskState, kind: Kind, media: string): string {
  switch (state) {
    case 'PENDING':
      return 'Waiting in the queue';
    case 'PROCESSING':
      return `${KINDS[kind].detecting} in ${media}`;
    case 'RETRY':
      return 'Waiting to be tried again';
    case 'SUCCESS':
      return 'Done';
    case 'REVOKED':
      return 'Cancelled';
    case 'FAILURE':
      return 'Failed';
  }
}

function openTaskState(job: Job, open: OpenState): TaskState {
  if (open === 'active') return 'PROCESSING';
  if (open === 'delayed' || job.attemptsMade > 0) return 'RETRY';
  return 'PENDING';
}

/** How far a running video is, as its worker last said; undefined for a picture. */
function runningView(job: Job, kind: Kind): { status: string; progress: Progress } | undefined {
  const said = RunningProgress.safeParse(job.progress).data;
  if (said === undefined) return undefined;
  const { percent, done, total, fps, etaSeconds } = said;
  return {
    status: `${KINDS[kind].detecting}: frame ${done} of ${total}`,
    progress: {
      percent,
      done,
      total,
      unit: 'frames',
      per_second: fps,
      ...(etaSeconds === undefined ? {} : { eta_seconds: etaSeconds }),
    },
  };
}

/** True where the job has reached its end, well or badly. */
export function hasEnded(job: Job): boolean {
  return job.finishedOn !== undefined;
}

/**
 * The task as the contract shows it.
 *
 * @param open where the job stands; only looked at while it has not ended
 */
export function viewTask(job: Job, open: OpenState, position?: number): Task {
  const data = readJobData(job);
  const kind = data?.kind ?? kindOfQueue(job.queueName) ?? KIND_NAMES[0];
  const media = data?.media ?? job.name;
  const unreadable = unreadablePart(job);
  const base = {
    task_id: job.id ?? '',
    queue: KINDS[kind].queue,
    attempts: job.attemptsStarted,
    created_at: new Date(job.timestamp).toISOString(),
    options: data?.options ?? null,
    ...(unreadable === undefined ? {} : { unreadable: { error_code: unreadable.code, message: unreadable.message } }),
  };
  const started = {
    ...(job.processedBy === undefined ? {} : { worker: job.processedBy }),
    ...(job.processedOn === undefined ? {} : { started_at: new Date(job.processedOn).toISOString() }),
  };
  if (!hasEnded(job)) {
    const state = openTaskState(job, open);
    const status = statusSentence(state, kind, media);
    // One that was given back waits as if it had never been started.
    if (state === 'PENDING') return { ...base, state, status, ...(position === undefined ? {} : { position }) };
    return { ...base, ...started, state, status, ...(state === 'PROCESSING' ? runningView(job, kind) : {}) };
  }
  const finished = { ...base, ...started, finished_at: isoTime(job.finishedOn) ?? base.created_at };
  const returned: unknown = job.returnvalue;
  const why = whyUnreadable(returned);
  if (why !== undefined) return { ...finished, state: 'SUCCESS', status: why.message };
  if (returned !== null && returned !== undefined) {
    return {
      ...finished,
      state: 'SUCCESS',
      status: statusSentence('SUCCESS', kind, media),
      result: returned as TaskResult,
    };
  }
  const error = parseFailure(job.failedReason ?? '');
  return { ...finished, state: 'FAILURE', status: error.message, error };
}

/** The record of a task that was cancelled at `now`. */
export function revokedTask(task: Task, now: Date): Task {
  const { position: _position, result: _result, error: _error, progress: _progress, ...rest } = task;
  return { ...rest, state: 'REVOKED', status: 'Cancelled', finished_at: now.toISOString() };
}
