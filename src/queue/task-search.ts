import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { TaskPage, TaskRow } from '../contract/admin.ts';
import type { TaskFilter, TaskSearch } from '../contract/admin-requests.ts';
import { KIND_NAMES, KINDS, type QueueName } from '../contract/kinds.ts';
import type { TaskState } from '../contract/task.ts';
import type { TaskLookup } from './task-lookup.ts';
import { labelsFound, readRows, rowOfTask } from './task-rows.ts';
import { ALL_QUEUES, type Entry, planSearch, readStreams } from './task-streams.ts';

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
  return ALL_QUEUES.filter(
    (name) =>
      (queue === undefined || name === queue) &&
      (worker === undefined || (ofWorker !== undefined && KINDS[ofWorker].queue === name)),
  );
}

function matches(row: TaskRow, filter: TaskFilter): boolean {
  const { id, state, queue, worker, error_code, from, to, min_run_s, max_run_s } = filter;
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
    (max_run_s === undefined || (row.run_s ?? Number.POSITIVE_INFINITY) <= max_run_s)
  );
}

/**
 * A page of the tasks for which a filter holds. It reads a bounded number of them and says how many: a page may hold
 * fewer than asked for and still name a cursor to go on from.
 *
 * @throws AppError INVALID_OPTION for a cursor of another search
 */
export async function searchTasks(
  redis: Redis,
  { load }: TaskLookup,
  { limit, cursor, ...filter }: TaskSearch,
): Promise<TaskPage> {
  /** The row with what the script cannot know, undefined where the filter does not hold. */
  async function complete(row: TaskRow | undefined, revoked: boolean, member: string): Promise<TaskRow | undefined> {
    const taskId = member.split(':')[1] ?? '';
    if (revoked) {
      if (filter.state !== undefined && filter.state !== 'REVOKED') return undefined;
      if (filter.id !== undefined && !taskId.startsWith(filter.id)) return undefined;
      const found = await load(taskId, null);
      const whole = found && rowOfTask(found.task, found.stored?.job.name ?? '');
      return whole !== undefined && filter.label === undefined && matches(whole, filter) ? whole : undefined;
    }
    if (row === undefined || !matches(row, filter)) return undefined;
    if (filter.label === undefined) return row;
    const result = (await load(taskId, null))?.task.result;
    const found = result === undefined ? {} : labelsFound(result);
    const wanted = filter.label.toLowerCase();
    return Object.keys(found).some((label) => label.toLowerCase() === wanted) ? { ...row, found } : undefined;
  }

  async function look(entries: readonly Entry[]): Promise<(TaskRow | undefined)[]> {
    const rows = await readRows(
      redis,
      entries.map(({ member }) => member),
    );
    return Promise.all(
      entries.map(({ member }, index) => {
        const stored = rows[index];
        return stored === undefined ? undefined : complete(stored.row, stored.revoked, member);
      }),
    );
  }

  if (filter.id !== undefined && WHOLE_ID.test(filter.id)) {
    const { id } = filter;
    const members = queuesOf(filter).map((queue) => ({ stream: 0, score: 0, member: `${queue}:${id}` }));
    const rows = (await look(members)).filter((row) => row !== undefined);
    // A cancelled task that is gone from its queue is found by its record under any.
    const unique = [...new Map(rows.map((row) => [row.task_id, row])).values()];
    return { tasks: unique, searched: members.length, next_cursor: null };
  }

  const states = statesOf(filter);
  const queues = queuesOf(filter);
  if (queues.length === 0 || (states !== undefined && states.length > 1))
    return { tasks: [], searched: 0, next_cursor: null };
  const plan = planSearch({
    states,
    queues,
    worker: filter.worker,
    from: filter.from === undefined ? undefined : Date.parse(filter.from),
    to: filter.to === undefined ? undefined : Date.parse(filter.to),
  });
  const key = createHash('sha256').update(JSON.stringify(filter)).digest('base64url').slice(0, 12);
  const reader = readStreams(redis, plan, key, cursor);
  const into = filter.label !== undefined;
  const mostLooks = into ? LOOK_INTO_LIMIT : LOOK_LIMIT;
  const until = performance.now() + TIME_LIMIT_MS;
  const tasks: TaskRow[] = [];
  let searched = 0;
  let step = Math.min(into ? STEP_INTO : STEP, limit);
  while (tasks.length < limit && searched < mostLooks && (searched === 0 || performance.now() < until)) {
    const entries = await reader.next(step);
    if (entries.length === 0) return { tasks, searched, next_cursor: null };
    const rows = await look(entries);
    for (const [index, entry] of entries.entries()) {
      if (tasks.length === limit) break;
      reader.pass(entry);
      searched++;
      const row = rows[index];
      if (row !== undefined) tasks.push(row);
    }
    step = into ? STEP_INTO : STEP;
  }
  return { tasks, searched, next_cursor: reader.cursor() };
}
