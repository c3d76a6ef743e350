import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import { Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { openText, sealText } from '../sealing/values.ts';
import { REVOKED_REASON } from './failure.ts';
import { KEYS } from './keys.ts';
import type { Queues } from './queues.ts';
import { hasEnded, type OpenState, unreadablePart, viewTask } from './task-view.ts';

/** Ids of tasks are UUIDs. */
const TASK_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export type Found = {
  task: Task;
  /** Undefined where only the record of a cancelled task is left. */
  stored: StoredJob | undefined;
  /** Why its job cannot be read whole; the cause names the key. */
  unreadable: AppError | undefined;
};

export type StoredJob = { kind: Kind; job: Job };

export type TaskLookup = {
  /** @param kind where it is known whose task it is, only that queue is asked */
  findJob(taskId: string, kind?: Kind): Promise<StoredJob | undefined>;
  /** The task, undefined where there is none (any more) or where it is not `owner`'s; null owns all. */
  load(taskId: string, owner: string | null, kind?: Kind): Promise<Found | undefined>;
};

type RevokedRecord = {
  owner: string | null;
  task: object;
  /** The task's options, where they are encrypted. */
  sealed?: string;
};

const optionsContext = (taskId: string) => `options of task ${taskId}`;

/** What is kept of a cancelled task; its options are encrypted where there is a key. */
export function revokedRecord({ current }: Keyring, owner: string | null, task: Task): string {
  if (current === undefined || task.options === null) return JSON.stringify({ owner, task } satisfies RevokedRecord);
  const { options, ...rest } = task;
  const sealed = sealText(current, JSON.stringify(options), optionsContext(task.task_id));
  return JSON.stringify({ owner, task: rest, sealed } satisfies RevokedRecord);
}

function readRevoked(keyring: Keyring, record: string, taskId: string): { owner: string | null; task: Task } {
  const { owner, task, sealed } = JSON.parse(record) as RevokedRecord;
  if (sealed === undefined) return { owner, task: Task.parse(task) };
  try {
    const options: unknown = JSON.parse(openText(keyring, sealed, optionsContext(taskId)));
    return { owner, task: Task.parse({ ...task, options }) };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // That it was cancelled can be said all the same.
    const { code: error_code, message } = error;
    return { owner, task: Task.parse({ ...task, options: null, unreadable: { error_code, message } }) };
  }
}

/** Name of the API key that posted a job, null where keys are off. */
export function ownerOf(job: Job): string | null {
  const data = job.data as { owner?: string | null } | null;
  return data?.owner ?? null;
}

/** Reads tasks as they stand in Redis. */
export function lookUpTasks(redis: Redis, queues: Queues, resultTtlSeconds: number, keyring: Keyring): TaskLookup {
  async function findJob(taskId: string, known?: Kind): Promise<StoredJob | undefined> {
    const kinds = known === undefined ? KIND_NAMES : [known];
    const jobs = await Promise.all(kinds.map(async (kind) => ({ kind, job: await queues[kind].getJob(taskId) })));
    for (const { kind, job } of jobs) if (job !== undefined) return { kind, job };
    return undefined;
  }

  /** Where a job stands that had not ended when it was read; 'ended' where it has since. */
  async function openState(job: Job): Promise<OpenState | 'ended'> {
    if (job.processedOn === undefined && job.attemptsMade === 0) return 'waiting';
    const state = await job.getState();
    if (state === 'active' || state === 'delayed') return state;
    return state === 'completed' || state === 'failed' ? 'ended' : 'waiting';
  }

  async function view({ job, kind }: StoredJob): Promise<Task> {
    if (hasEnded(job)) return viewTask(job, 'waiting');
    const open = await openState(job);
    if (open === 'ended') return viewTask((await queues[kind].getJob(job.id ?? '')) ?? job, 'active');
    const rank = open === 'waiting' ? await redis.zrank(KEYS.prioritized(job.queueName), job.id ?? '') : null;
    // Between the two questions the job may have moved on; a waiting job without a rank has just been taken.
    return viewTask(job, open, rank === null ? undefined : rank + 1);
  }

  /** Whether what ended then, in ms, is no longer shown. */
  function isPast(endedAt: number): boolean {
    return endedAt + resultTtlSeconds * 1000 < Date.now();
  }

  return {
    findJob,
    async load(taskId, owner, kind) {
      // Other names are those of BullMQ's own keys, or nobody's.
      if (!TASK_ID.test(taskId)) return undefined;
      const key = KEYS.revoked(taskId);
      const [early, found] = await Promise.all([redis.get(key), findJob(taskId, kind)]);
      // The record may have been written, and have ended the job, between the two questions.
      const record = early ?? (found?.job.failedReason === REVOKED_REASON ? await redis.get(key) : null);
      if (record !== null) {
        const revoked = readRevoked(keyring, record, taskId);
        const { finished_at, created_at } = revoked.task;
        if (isPast(Date.parse(finished_at ?? created_at)) || (owner !== null && revoked.owner !== owner))
          return undefined;
        return { task: revoked.task, stored: found, unreadable: undefined };
      }
      if (found === undefined || (found.job.finishedOn !== undefined && isPast(found.job.finishedOn))) return undefined;
      if (owner !== null && ownerOf(found.job) !== owner) return undefined;
      return { task: await view(found), stored: found, unreadable: unreadablePart(found.job) };
    },
  };
}
