import type { Redis } from 'ioredis';
import type { ActionOutcome, BulkOutcome } from '../contract/admin.ts';
import type { TaskFilter } from '../contract/admin-requests.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { queuePriority } from '../contract/options.ts';
import { isFinished, type TaskState } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { KEYS } from './keys.ts';
import type { Queues } from './queues.ts';
import type { Found, StoredJob, TaskLookup } from './task-lookup.ts';
import { searchTasks } from './task-search.ts';

/** One request does so much of a long piece of work, in ms; the caller asks again. */
const TIME_LIMIT_MS = 1500;
const AT_ONCE = 1000;
const PAGE = 100;

/** BullMQ's answers to a job that is gone, or no longer where it was. */
const GONE = -1;
const MOVED = -3;

const notFound = () => new AppError('TASK_NOT_FOUND', 'There is no such task, or its result has expired.');
const ended = (state: TaskState) => new AppError('TASK_FINISHED', `The task has already ended (${state}).`);
const done = (message: string): ActionOutcome => ({ applied: true, message });
const refused = (message: string): ActionOutcome => ({ applied: false, message });

export type TaskActions = {
  /** Starts a failed task afresh. @throws AppError TASK_NOT_FOUND, TASK_FINISHED where it ended without failing */
  retry(taskId: string): Promise<ActionOutcome>;
  retryEach(taskIds: readonly string[]): Promise<BulkOutcome>;
  /** The failed tasks for which the filter holds, as many as there is time for. */
  retryMatching(filter: TaskFilter): Promise<BulkOutcome>;
  /** @param priority 0 to 9, 9 the most urgent @throws AppError TASK_NOT_FOUND, TASK_FINISHED */
  changePriority(taskId: string, priority: number): Promise<ActionOutcome>;
  /** Removes ended tasks that ended so long ago, as many as there is time for. */
  clean(kind: Kind, state: 'completed' | 'failed', olderThanSeconds: number): Promise<BulkOutcome>;
};

/** What operators do to tasks. Two at once are safe: BullMQ moves a job once, and who comes second is told so. */
export function createTaskActions(redis: Redis, queues: Queues, lookup: TaskLookup): TaskActions {
  async function find(taskId: string): Promise<Found> {
    const found = await lookup.load(taskId, null);
    if (found === undefined) throw notFound();
    return found;
  }

  async function startAgain({ job }: StoredJob): Promise<ActionOutcome> {
    try {
      await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true });
      return done('The task is queued again.');
    } catch (error) {
      const { code } = error as { code?: number };
      if (code === GONE) throw notFound();
      if (code === MOVED) return refused('Somebody else has just queued the task again.');
      throw error;
    }
  }

  async function retry(taskId: string): Promise<ActionOutcome> {
    const { task, stored } = await find(taskId);
    if (task.state === 'SUCCESS' || task.state === 'REVOKED' || stored === undefined) throw ended(task.state);
    if (task.state !== 'FAILURE') return refused(`The task has not failed: its state is ${task.state}.`);
    return startAgain(stored);
  }

  async function retryEach(taskIds: readonly string[]): Promise<BulkOutcome> {
    let count = 0;
    for (const taskId of taskIds) {
      const outcome = await retry(taskId).catch((error: unknown) => {
        if (error instanceof AppError) return refused(error.message);
        throw error;
      });
      if (outcome.applied) count++;
    }
    return bulk(count, taskIds.length - count, false, 'queued again');
  }

  async function retryMatching(filter: TaskFilter): Promise<BulkOutcome> {
    const until = performance.now() + TIME_LIMIT_MS;
    let [count, skipped] = [0, 0];
    let cursor: string | undefined;
    do {
      const search = { ...filter, state: 'FAILURE' as const, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
      const { tasks, next_cursor } = await searchTasks(redis, lookup, search);
      const page = await retryEach(tasks.map(({ task_id }) => task_id));
      count += page.count;
      skipped += page.skipped;
      // What is queued again is no longer among the failed: those that follow have moved up.
      cursor = page.count > 0 ? undefined : (next_cursor ?? undefined);
      if (tasks.length === 0 && next_cursor === null) return bulk(count, skipped, false, 'queued again');
      if (page.count === 0 && cursor === undefined) return bulk(count, skipped, false, 'queued again');
    } while (performance.now() < until);
    return bulk(count, skipped, true, 'queued again');
  }

  async function changePriority(taskId: string, priority: number): Promise<ActionOutcome> {
    const { task, stored } = await find(taskId);
    if (isFinished(task.state) || stored === undefined) throw ended(task.state);
    if (task.state === 'PROCESSING') return refused('The task runs already; its place in the queue no longer matters.');
    await stored.job.changePriority({ priority: queuePriority(priority, stored.job.name === 'video') });
    const after = await find(taskId);
    if (isFinished(after.task.state)) throw ended(after.task.state);
    return after.task.state === 'PROCESSING'
      ? refused('The task has just begun to run.')
      : done(`The task has priority ${priority} now.`);
  }

  async function forget(kind: Kind, taskIds: readonly string[]): Promise<void> {
    if (taskIds.length > 0)
      await redis.zrem(KEYS.index(null), ...taskIds.map((taskId) => `${KINDS[kind].queue}:${taskId}`));
  }

  async function clean(kind: Kind, state: 'completed' | 'failed', olderThanSeconds: number): Promise<BulkOutcome> {
    const until = performance.now() + TIME_LIMIT_MS;
    let count = 0;
    let removed: string[];
    do {
      removed = await queues[kind].clean(olderThanSeconds * 1000, AT_ONCE, state);
      await forget(kind, removed);
      count += removed.length;
    } while (removed.length >= AT_ONCE && performance.now() < until);
    return bulk(count, 0, removed.length >= AT_ONCE, 'removed');
  }

  return { retry, retryEach, retryMatching, changePriority, clean };
}

function bulk(count: number, skipped: number, more: boolean, what: string): BulkOutcome {
  const tasks = (number: number) => `${number} ${number === 1 ? 'task' : 'tasks'}`;
  const left = skipped === 0 ? '' : ` ${tasks(skipped)} had not failed or are gone.`;
  return {
    applied: count > 0,
    message: `${tasks(count)} ${what}.${left}${more ? ' There may be more.' : ''}`,
    count,
    skipped,
    more,
  };
}
