import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { TaskPage, TaskRow } from '../contract/admin.ts';
import type { Order, TaskFilter, TaskSearch } from '../contract/admin-requests.ts';
import { KIND_NAMES, KINDS, QUEUE_NAMES, type QueueName } from '../contract/kinds.ts';
import type { TaskState } from '../contract/task.ts';
import { readTaskMember, taskMember } from './keys.ts';
import type { TaskLookup } from './task-lookup.ts';
import { labelsFound, readRows, rowOfTask, type StoredRow } from './task-rows.ts';
import { type Entry, planSearch, readStreams } from './task-streams.ts';

/** A page is given back after so many ms, however few tasks have matched by then. */
const TIME_LIMIT_MS = 80;

/** Tasks that are looked at for one page; fewer where their results have to be read. */
const LOOK_LIMIT = 6000;
const LOOK_INTO_LIMIT = 800;
const STEP = 250;
const STEP_INTO = 40;

const WHOLE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** States that a task can have for which the filter holds; undefined for any. */
function statesOf({ state, label, error_code }: TaskFilter): readonly TaskState[] | undefined {
  const implied = [
    ...(state === undefined ? [] : [state]),
    ...(label === undefined ? [] : (['SUCCESS'] as const)),
    ...(error_code === undefined ? [] : (['FAILURE'] as const)),
  ];
  return implied.length === 0 ? undefined : [...new Set(implied)];
}

function queuesOf({ queue, worker }: TaskFilter): readonly QueueName[] {
  const ofWorker = KIND_NAMES.find((kind) => worker?.startsWith(`${kind}_worker_`));
  return QUEUE_NAMES.filter(
    (name) =>
      (queue === undefined || name === queue) &&
      (worker === undefined || (ofWorker !== undefined && KINDS[ofWorker].queue === name)),
  );
}

function matches(row: TaskRow, filter: TaskFilter): boolean {
  const { id, state, queue, worker, error_code, from, to, min_run_s, max_run_s, min_wait_s, max_wait_s } = filter;
  const created = Date.parse(row.created_at);
  return (
    (id === undefined || row.task_id.startsWith(id)) &&
    (state === undefined || row.state === state) &&
    (queue === undefined || row.queue === queue) &&
    (worker === undefined || row.worker === worker) &&
    (error_code === undefined || row.error_code === error_code) &&
    (from === undefined || created >= Date.parse(from)) &&
    (to === undefined || created <= Date.parse(to)) &&
    (min_run_s === undefined || (row.run_s ?? -1) >= min_run_s) &&
    (max_run_s === undefined || (row.run_s ?? Number.POSITIVE_INFINITY) <= max_run_s) &&
    (min_wait_s === undefined || (row.wait_s ?? -1) >= min_wait_s) &&
    (max_wait_s === undefined || (row.wait_s ?? Number.POSITIVE_INFINITY) <= max_wait_s)
  );
}

/** What goes first is greater; those of null are left out. */
const RANKS: Record<Exclude<Order, 'newest'>, (row: TaskRow) => number | null> = {
  oldest: ({ created_at }) => -Date.parse(created_at),
  longest_run: ({ run_s }) => run_s,
  longest_wait: ({ wait_s, finished_at, queued_at }) =>
    wait_s ?? (finished_at === null ? (Date.now() - Date.parse(queued_at)) / 1000 : null),
};

/** The first so many in an order that no stream has. */
function firstOf(rows: readonly TaskRow[], rank: (row: TaskRow) => number | null, limit: number): TaskRow[] {
  return rows
    .flatMap((row) => {
      const value = rank(row);
      return value === null ? [] : [{ row, value }];
    })
    .sort((a, b) => b.value - a.value)
    .slice(0, limit)
    .map(({ row }) => row);
}

const OPEN_STATES: ReadonlySet<TaskState> = new Set(['PENDING', 'PROCESSING', 'RETRY']);

/** How the rows of a page have to be put in order; undefined where they are read in it. */
function rankOf(order: Order, states: readonly TaskState[] | undefined) {
  if (order === 'newest') return undefined;
  return order !== 'oldest' || states?.some((state) => OPEN_STATES.has(state)) ? RANKS[order] : undefined;
}

/** 'unreadable' where only the result could have told whether the filter holds. */
type Looked = TaskRow | 'unreadable' | undefined;

/**
 * A page of the tasks for which a filter holds. It reads a bounded number of them and says how many: a page may hold
 * fewer than asked for and still name a cursor to go on from. Where no stream has the order asked for, a page holds the
 * first of those that were looked at for it.
 *
 * @throws AppError INVALID_OPTION for a cursor of another search
 */
export async function searchTasks(
  redis: Redis,
  { load }: TaskLookup,
  { limit, cursor, sort: order = 'newest', ...filter }: TaskSearch,
): Promise<TaskPage> {
  /** The row with what the script cannot know, undefined where the filter does not hold. */
  async function complete(stored: StoredRow, member: string): Promise<Looked> {
    const { row } = stored;
    const { taskId } = readTaskMember(member);
    if (stored.revoked) {
      if (filter.state !== undefined && filter.state !== 'REVOKED') return undefined;
      if (filter.id !== undefined && !taskId.startsWith(filter.id)) return undefined;
      const found = await load(taskId, null);
      const whole = found && rowOfTask(found.task, found.stored?.job.name ?? '', stored.queuedAt);
      return whole !== undefined && filter.label === undefined && matches(whole, filter) ? whole : undefined;
    }
    if (row === undefined || !matches(row, filter)) return undefined;
    if (filter.label === undefined) return row;
    const loaded = await load(taskId, null);
    const result = loaded?.task.result;
    if (result === undefined) return loaded?.unreadable === undefined ? undefined : 'unreadable';
    const found = labelsFound(result);
    const wanted = filter.label.toLowerCase();
    return Object.keys(found).some((label) => label.toLowerCase() === wanted) ? { ...row, found } : undefined;
  }

  async function look(entries: readonly Entry[]): Promise<Looked[]> {
    const rows = await readRows(
      redis,
      entries.map(({ member }) => member),
    );
    return Promise.all(
      entries.map(({ member }, index) => {
        const stored = rows[index];
        return stored === undefined ? undefined : complete(stored, member);
      }),
    );
  }

  if (filter.id !== undefined && WHOLE_ID.test(filter.id)) {
    const { id } = filter;
    const members = queuesOf(filter).map((queue) => ({ stream: 0, score: 0, member: taskMember(queue, id) }));
    const looked = await look(members);
    const rows = looked.filter((row) => row !== undefined && row !== 'unreadable');
    // A cancelled task that is gone from its queue is found by its record under any.
    const unique = [...new Map(rows.map((row) => [row.task_id, row])).values()];
    const unreadable = looked.filter((row) => row === 'unreadable').length;
    return { tasks: unique, searched: members.length, unreadable, next_cursor: null };
  }

  const states = statesOf(filter);
  const queues = queuesOf(filter);
  if (queues.length === 0 || (states !== undefined && states.length > 1))
    return { tasks: [], searched: 0, unreadable: 0, next_cursor: null };
  const plan = planSearch({
    states,
    queues,
    worker: filter.worker,
    from: filter.from === undefined ? undefined : Date.parse(filter.from),
    to: filter.to === undefined ? undefined : Date.parse(filter.to),
    order,
  });
  const key = createHash('sha256')
    .update(JSON.stringify([order, filter]))
    .digest('base64url')
    .slice(0, 12);
  const reader = readStreams(redis, plan, key, cursor);
  const into = filter.label !== undefined;
  const mostLooks = into ? LOOK_INTO_LIMIT : LOOK_LIMIT;
  const until = performance.now() + TIME_LIMIT_MS;
  const rank = rankOf(order, states);
  const enough = rank === undefined ? limit : Number.POSITIVE_INFINITY;
  const tasks: TaskRow[] = [];
  let [searched, unreadable] = [0, 0];
  const page = (next_cursor: string | null): TaskPage => {
    return { tasks: rank === undefined ? tasks : firstOf(tasks, rank, limit), searched, unreadable, next_cursor };
  };
  let step = Math.min(into ? STEP_INTO : STEP, enough);
  while (tasks.length < enough && searched < mostLooks && (searched === 0 || performance.now() < until)) {
    const entries = await reader.next(step);
    if (entries.length === 0) return page(null);
    const rows = await look(entries);
    for (const [index, entry] of entries.entries()) {
      if (tasks.length === enough) break;
      reader.pass(entry);
      searched++;
      const row = rows[index];
      if (row === 'unreadable') unreadable++;
      else if (row !== undefined) tasks.push(row);
    }
    step = into ? STEP_INTO : STEP;
  }
  return page(reader.cursor());
}
