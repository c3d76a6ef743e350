import type { Redis } from 'ioredis';
import type { TaskRow } from '../contract/admin.ts';
import type { QueueName } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import type { Task, TaskState } from '../contract/task.ts';
import { parseFailure, REVOKED_REASON } from './failure.ts';
import { KEYS, PREFIX, readTaskMember } from './keys.ts';
import { QUEUED_AT, waitsSince } from './queued-again.ts';

/**
 * What a list shows of each task, without its data and its result: those may be large. Nothing for a task that is gone.
 */
const READ_SCRIPT = `
local rows = {}
for i = 2, #ARGV do
  local queue, id = string.match(ARGV[i], '^([^:]+):(.+)$')
  local base = ARGV[1] .. ':' .. queue .. ':'
  local job = base .. id
  local revoked = redis.call('EXISTS', ARGV[1] .. ':revoked:' .. id)
  local fields = redis.call('HMGET', job, 'timestamp', 'processedOn', 'finishedOn', 'pb', 'failedReason', 'atm', 'ats', 'name', 'priority', '${QUEUED_AT}')
  local place = ''
  if fields[1] and not fields[3] then
    if redis.call('ZSCORE', base .. 'prioritized', id) then place = 'waiting'
    elseif redis.call('ZSCORE', base .. 'delayed', id) then place = 'delayed'
    elseif fields[2] then place = 'active'
    else place = 'waiting' end
  end
  local good = redis.call('HSTRLEN', job, 'returnvalue') > 0 and 1 or 0
  rows[i - 1] = {revoked, place, good, unpack(fields, 1, 10)}
end
return rows`;

/** `queuedAt` in ms: when a task was last queued again by hand, 0 for never. */
export type StoredRow = { row: TaskRow; revoked: false } | { row: undefined; revoked: true; queuedAt: number };

const iso = (ms: number) => new Date(ms).toISOString();

/** 9 the most urgent, as clients know it, from BullMQ's number. */
export function publicPriority(priority: number): number | null {
  return priority < 1 ? null : Math.max(0, 9 - Math.floor((priority - 1) / 2));
}

function stateOf(place: string, good: boolean, finished: boolean, attemptsMade: number): TaskState {
  if (finished) return good ? 'SUCCESS' : 'FAILURE';
  if (place === 'active') return 'PROCESSING';
  return place === 'delayed' || attemptsMade > 0 ? 'RETRY' : 'PENDING';
}

type Reply = [number, string, number, ...(string | null)[]];

function toRow(queue: QueueName, taskId: string, reply: Reply): StoredRow | undefined {
  const [revoked, place, good, created, started, finished, worker, reason, made, starts, name, priority, queuedAt] =
    reply;
  if (revoked === 1) return { row: undefined, revoked: true, queuedAt: Number(queuedAt ?? 0) };
  if (created === null || created === undefined) return undefined;
  // Cancelled while it ran; its record has expired.
  if (reason === REVOKED_REASON && finished) return undefined;
  const state = stateOf(place, good === 1, Boolean(finished), Number(made ?? 0));
  const [createdAt, startedAt, finishedAt] = [created, started, finished].map((ms) => (ms ? Number(ms) : null));
  const begun = state === 'PENDING' ? null : (startedAt ?? null);
  const since = waitsSince(created, queuedAt);
  return {
    revoked: false,
    row: {
      task_id: taskId,
      queue,
      media: name ?? '',
      state,
      worker: begun === null ? null : (worker ?? null),
      attempts: Number(starts ?? 0),
      priority: publicPriority(Number(priority ?? 0)),
      created_at: iso(createdAt ?? 0),
      queued_at: iso(since),
      started_at: begun === null ? null : iso(begun),
      finished_at: finishedAt ? iso(finishedAt) : null,
      wait_s: begun === null ? null : Math.max(0, begun - since) / 1000,
      run_s: begun === null || state === 'RETRY' ? null : Math.max(0, (finishedAt ?? Date.now()) - begun) / 1000,
      error_code: state === 'FAILURE' ? parseFailure(reason ?? '').error_code : null,
    },
  };
}

/** The rows of the tasks that these index members name, in their order. */
export async function readRows(redis: Redis, members: readonly string[]): Promise<(StoredRow | undefined)[]> {
  if (members.length === 0) return [];
  const replies = (await redis.eval(READ_SCRIPT, 1, KEYS.index(null), PREFIX, ...members)) as Reply[];
  return replies.map((reply, index) => {
    const { queue, taskId } = readTaskMember(members[index] ?? '');
    return toRow(queue as QueueName, taskId, reply);
  });
}

/** The row of a task that was read whole. @param queuedAt when it was last queued again by hand, in ms, 0 for never */
export function rowOfTask(task: Task, media: string, queuedAt: number): TaskRow {
  const [started, finished] = [task.started_at, task.finished_at].map((text) =>
    text === undefined ? null : Date.parse(text),
  );
  const since = waitsSince(Date.parse(task.created_at), queuedAt);
  return {
    task_id: task.task_id,
    queue: task.queue,
    media,
    state: task.state,
    worker: task.worker ?? null,
    attempts: task.attempts,
    priority: task.options?.priority ?? null,
    created_at: task.created_at,
    queued_at: iso(since),
    started_at: task.started_at ?? null,
    finished_at: task.finished_at ?? null,
    wait_s: started === null || started === undefined ? null : Math.max(0, started - since) / 1000,
    run_s: started === null || started === undefined ? null : Math.max(0, (finished ?? Date.now()) - started) / 1000,
    error_code: task.error?.error_code ?? null,
  };
}

/** How often each label was found. */
export function labelsFound(result: TaskResult): Record<string, number> {
  if ('faces_detected' in result) return result.faces_detected === 0 ? {} : { face: result.faces_detected };
  if ('total_faces_detected' in result)
    return result.total_faces_detected === 0 ? {} : { face: result.total_faces_detected };
  if ('object_summary' in result) return result.object_summary;
  const counts = new Map<string, number>();
  for (const object of result.objects) counts.set(object.class, (counts.get(object.class) ?? 0) + 1);
  return Object.fromEntries(counts);
}
