import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { TaskDetail, TimelineEntry } from '../contract/admin.ts';
import { isFinished, type JobData, type Task } from '../contract/task.ts';
import { openStack, readTrail } from '../queue/attempts.ts';
import { taskNotFound } from '../queue/failure.ts';
import { KEYS } from '../queue/keys.ts';
import { QUEUED_AT, waitsSince } from '../queue/queued-again.ts';
import type { TaskLookup } from '../queue/task-lookup.ts';
import { publicPriority } from '../queue/task-rows.ts';
import { readJobData } from '../queue/task-view.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Role } from './accounts.ts';
import { publicReason } from './presentation.ts';
import type { FileSource } from './task-files.ts';

const iso = (ms: number) => new Date(ms).toISOString();

/** @param queuedAt when it was last queued again by hand, in ms; undefined for never */
function timelineOf(task: Task, trail: string, queuedAt: number | undefined, role: Role): TimelineEntry[] {
  const how = (text: string) => (role === 'admin' ? text : publicReason(text));
  const entries: TimelineEntry[] = [{ at: task.created_at, what: 'created', detail: null }];
  let open: string | undefined;
  let number = 0;
  for (const entry of readTrail(trail)) {
    const at = iso(entry.at);
    if (entry.what === 'begun') {
      // An attempt that never ended: its worker was killed, or lost its lock.
      if (open !== undefined) entries.push({ at, what: 'lost', detail: `attempt ${number} on ${open} left no word` });
      number++;
      open = entry.worker;
      entries.push({ at, what: 'started', detail: `attempt ${number} on ${entry.worker}` });
    } else {
      open = undefined;
      entries.push({ at, what: 'attempt ended', detail: how(entry.how) });
    }
  }
  if (number === 0 && task.started_at !== undefined) {
    entries.push({
      at: task.started_at,
      what: 'started',
      detail: task.worker === undefined ? null : `on ${task.worker}`,
    });
  }
  if (isFinished(task.state)) {
    entries.push({ at: task.finished_at ?? task.created_at, what: 'finished', detail: task.state });
  }
  if (queuedAt !== undefined) entries.push({ at: iso(queuedAt), what: 'queued again', detail: null });
  // A task that is cancelled ends before its attempt does. Entries of one time stay in their order.
  const [created, ...later] = entries;
  later.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  return created === undefined ? later : [created, ...later];
}

/** How long a store may take to say whether it has a file, in ms; the page does not wait for one that hangs. */
const STORE_PATIENCE_MS = 500;

async function isThere(files: FileSource, name: string): Promise<boolean> {
  const found = files.open(name).then(
    (file) => file !== undefined,
    () => false,
  );
  return Promise.race([found, sleep(STORE_PATIENCE_MS, false, { ref: false })]);
}

/** A video's annotated copy is made with its result; a picture's when somebody first asks web for it, or never. */
async function hasAnnotated(files: FileSource, data: JobData | undefined, task: Task): Promise<boolean> {
  if (task.state !== 'SUCCESS' || typeof data?.annotated !== 'string') return false;
  return data.media === 'video' || (await isThere(files, data.annotated));
}

/** All that is known of a task. @throws AppError TASK_NOT_FOUND */
export async function readTaskDetail(
  { redis, lookup, keyring, files }: { redis: Redis; lookup: TaskLookup; keyring: Keyring; files: FileSource },
  taskId: string,
  role: Role,
): Promise<TaskDetail> {
  const found = await lookup.load(taskId, null);
  if (found === undefined) throw taskNotFound();
  const { task, stored } = found;
  const data = stored && readJobData(stored.job);
  const [trail, stack, queuedAt] = await redis.hmget(KEYS.job(task.queue, taskId), 'trail', 'stack', QUEUED_AT);
  const file = (name: string, there: boolean) => (there ? `/api/admin/tasks/${taskId}/files/${name}` : null);
  const isRevoked = task.state === 'REVOKED';
  const annotated = await hasAnnotated(files, data, task);
  return {
    task,
    media: data?.media ?? stored?.job.name ?? null,
    owner: data?.owner ?? null,
    request_id: data?.request_id ?? null,
    file:
      data === undefined
        ? null
        : { mime: data.file.mime, bytes: data.file.bytes, width: data.file.width, height: data.file.height },
    priority: stored === undefined ? null : publicPriority(stored.job.priority ?? 0),
    queued_at: iso(waitsSince(Date.parse(task.created_at), queuedAt)),
    timeline: timelineOf(task, trail ?? '', queuedAt ? Number(queuedAt) : undefined, role),
    stack: role === 'admin' && stack ? openStack(keyring, stack, taskId) : null,
    // What a cancelled task left behind is removed.
    original_url: file('original', data !== undefined && !isRevoked),
    annotated_url: file('annotated', annotated),
    detections_url: file('detections', task.result !== undefined && 'detections_url' in task.result),
    board_url: stored === undefined ? null : `/queue/${task.queue}/${taskId}`,
  };
}
