import type { Redis } from 'ioredis';
import type { TaskDetail, TimelineEntry } from '../contract/admin.ts';
import { isFinished, type Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { openStack, readTrail } from '../queue/attempts.ts';
import { KEYS } from '../queue/keys.ts';
import type { TaskLookup } from '../queue/task-lookup.ts';
import { publicPriority } from '../queue/task-rows.ts';
import { readJobData } from '../queue/task-view.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Role } from './accounts.ts';
import { publicReason } from './presentation.ts';

const iso = (ms: number) => new Date(ms).toISOString();

function timelineOf(task: Task, trail: string, role: Role): TimelineEntry[] {
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
  return entries;
}

/** All that is known of a task. @throws AppError TASK_NOT_FOUND */
export async function readTaskDetail(
  { redis, lookup, keyring }: { redis: Redis; lookup: TaskLookup; keyring: Keyring },
  taskId: string,
  role: Role,
): Promise<TaskDetail> {
  const found = await lookup.load(taskId, null);
  if (found === undefined) throw new AppError('TASK_NOT_FOUND', 'There is no such task, or its result has expired.');
  const { task, stored } = found;
  const data = stored && readJobData(stored.job);
  const [trail, stack] = await redis.hmget(KEYS.job(task.queue, taskId), 'trail', 'stack');
  const file = (name: string, there: boolean) => (there ? `/api/admin/tasks/${taskId}/files/${name}` : null);
  const isRevoked = task.state === 'REVOKED';
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
    timeline: timelineOf(task, trail ?? '', role),
    stack: role === 'admin' && stack ? openStack(keyring, stack, taskId) : null,
    // What a cancelled task left behind is removed.
    original_url: file('original', data !== undefined && !isRevoked),
    annotated_url: file('annotated', typeof data?.annotated === 'string' && task.state === 'SUCCESS'),
    detections_url: file('detections', task.result !== undefined && 'detections_url' in task.result),
    board_url: stored === undefined ? null : `/queue/${task.queue}/${taskId}`,
  };
}
