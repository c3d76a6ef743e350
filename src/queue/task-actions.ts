import type { Redis } from 'ioredis';
import { type ActionOutcome, applied, type BulkOutcome, notApplied } from '../contract/admin.ts';
import type { TaskFilter } from '../contract/admin-requests.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { queuePriority } from '../contract/options.ts';
import { isFinished, type TaskState } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { taskNotFound } from './failure.ts';
import { KEYS, taskMember } from './keys.ts';
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

const ended = (state: TaskState) => new AppError('TASK_FINISHED', `The task has already ended (${state}).`);

type Retried = ActionOutcome & { isUnreadable?: true };

/** What came of it, and which tasks are queued again. */
export type Retries = { outcome: BulkOutcome; taskIds: string[] };

type Tally = { tried: number; unreadable: number; taskIds: string[] };
const newTally = (): Tally => ({ tried: 0, unreadable: 0, taskIds: [] });

export type TaskActions = {
  /** Starts a failed task afresh. @throws AppError TASK_NOT_FOUND, TASK_FINISHED where it ended without failing */
  retry(taskId: string): Promise<ActionOutcome>;
  retryEach(taskIds: readonly string[]): Promise<Retries>;
  /**
   * The failed tasks for which the filter holds, the oldest first, as many as there is time for.
   *
   * @param before only those that failed before this time in ms; now where unset
   */
  retryMatching(filter: TaskFilter, before?: number): Promise<Retries>;
  /** @param priority 0 to 9, 9 the most urgent @throws AppError TASK_NOT_FOUND, TASK_FINISHED */
  changePriority(taskId: string, priority: number): Promise<ActionOutcome>;
  /** Removes ended tasks that ended so long ago, as many as there is time for. */
  clean(kind: Kind, state: 'completed' | 'failed', olderThanSeconds: number): Promise<BulkOutcome>;
};

/** What operators do to tasks. Two at once are safe: BullMQ moves a job once, and who comes second is told so. */
export function createTaskActions(redis: Redis, queues: Queues, lookup: TaskLookup): TaskActions {
  async function find(taskId: string): Promise<Found> {
    const found = await lookup.load(taskId, null);
    if (found === undefined) throw taskNotFound();
    return found;
  }

  async function startAgain({ job }: StoredJob): Promise<ActionOutcome> {
    try {
      await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true });
      return applied('The task is queued again.');
    } catch (error) {
      const { code } = error as { code?: number };
      if (code === GONE) throw taskNotFound();
      if (code === MOVED) return notApplied('Somebody else has just queued the task again.');
      throw error;
    }
  }

  async function queueAgain(taskId: string): Promise<Retried> {
    const { task, stored, unreadable } = await find(taskId);
    if (task.state === 'SUCCESS' || task.state === 'REVOKED' || stored === undefined) throw ended(task.state);
    if (task.state !== 'FAILURE') return notApplied(`The task has not failed: its state is ${task.state}.`);
    // It would only fail again.
    if (unreadable !== undefined)
      return { ...notApplied(`The task cannot be queued again. ${unreadable.message}`), isUnreadable: true };
    return startAgain(stored);
  }

  async function retry(taskId: string): Promise<ActionOutcome> {
    const { isUnreadable: _, ...outcome } = await queueAgain(taskId);
    return outcome;
  }

  async function tryAgain(taskId: string, tally: Tally): Promise<void> {
    const outcome = await queueAgain(taskId).catch((error: unknown): Retried => {
      if (error instanceof AppError) return notApplied(error.message);
      throw error;
    });
    tally.tried++;
    if (outcome.applied) tally.taskIds.push(taskId);
    else if (outcome.isUnreadable) tally.unreadable++;
  }

  async function retryEach(taskIds: readonly string[]): Promise<Retries> {
    const tally = newTally();
    for (const taskId of taskIds) await tryAgain(taskId, tally);
    return outcomeOf(tally, false);
  }

  /** Failed tasks for which the filter holds, the oldest first, and where to go on; no cursor where that are all. */
  async function failedBefore(filter: TaskFilter, before: number, until: number, from?: string) {
    const enoughAt = performance.now() + (until - performance.now()) / 3;
    const taskIds: string[] = [];
    let cursor = from;
    do {
      const search = { ...filter, state: 'FAILURE', sort: 'oldest', limit: PAGE } as const;
      const page = await searchTasks(redis, lookup, cursor === undefined ? search : { ...search, cursor });
      for (const { task_id, finished_at } of page.tasks)
        if (finished_at !== null && Date.parse(finished_at) < before) taskIds.push(task_id);
      if (page.next_cursor === null) return { taskIds, cursor: undefined };
      cursor = page.next_cursor;
      // A search for few among many goes on until it has found one, so that asking again leads somewhere.
    } while (performance.now() < (taskIds.length > 0 ? enoughAt : until) && taskIds.length < AT_ONCE);
    return { taskIds, cursor };
  }

  async function retryMatching(filter: TaskFilter, before = Date.now()): Promise<Retries> {
    const until = performance.now() + TIME_LIMIT_MS;
    const tally = newTally();
    let found = await failedBefore(filter, before, until);
    for (;;) {
      // All are looked for before the first moves, so that none that fails again at once is met twice.
      for (const taskId of found.taskIds) {
        if (performance.now() > until) return outcomeOf(tally, true);
        await tryAgain(taskId, tally);
      }
      // Behind a thousand that cannot be queued again there may be others; asking again would only lead to the same.
      const isStuck = tally.taskIds.length === 0 && found.cursor !== undefined && performance.now() < until;
      if (!isStuck) return outcomeOf(tally, found.cursor !== undefined);
      found = await failedBefore(filter, before, until, found.cursor);
    }
  }

  async function changePriority(taskId: string, priority: number): Promise<ActionOutcome> {
    const { task, stored } = await find(taskId);
    if (isFinished(task.state) || stored === undefined) throw ended(task.state);
    if (task.state === 'PROCESSING')
      return notApplied('The task runs already; its place in the queue no longer matters.');
    const wanted = queuePriority(priority, stored.job.name === 'video');
    // Where it has that priority it would lose its place among those of the same.
    if (stored.job.priority === wanted) return notApplied(`The task has priority ${priority} already.`);
    await stored.job.changePriority({ priority: wanted });
    const after = await find(taskId);
    if (isFinished(after.task.state)) throw ended(after.task.state);
    return after.task.state === 'PROCESSING'
      ? notApplied('The task has just begun to run.')
      : applied(`The task has priority ${priority} now.`);
  }

  async function forget(kind: Kind, taskIds: readonly string[]): Promise<void> {
    if (taskIds.length > 0)
      await redis.zrem(KEYS.index(null), ...taskIds.map((taskId) => taskMember(KINDS[kind].queue, taskId)));
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
    return bulk({ count, skipped: 0, unreadable: 0, more: removed.length >= AT_ONCE }, 'removed');
  }

  return { retry, retryEach, retryMatching, changePriority, clean };
}

function outcomeOf({ tried, unreadable, taskIds }: Tally, more: boolean): Retries {
  const count = taskIds.length;
  return { outcome: bulk({ count, skipped: tried - count, unreadable, more }, 'queued again'), taskIds };
}

type Counts = Pick<BulkOutcome, 'count' | 'skipped' | 'unreadable' | 'more'>;

function bulk({ count, skipped, unreadable, more }: Counts, what: string): BulkOutcome {
  const tasks = (number: number) => `${number} ${number === 1 ? 'task' : 'tasks'}`;
  const others = skipped - unreadable;
  const sentences = [
    `${tasks(count)} ${what}.`,
    ...(others === 0 ? [] : [`${tasks(others)} had not failed or are gone.`]),
    ...(unreadable === 0 ? [] : [`${tasks(unreadable)} cannot be read with the keys of this dashboard.`]),
    ...(more ? ['There may be more.'] : []),
  ];
  return { applied: count > 0, message: sentences.join(' '), count, skipped, unreadable, more };
}
