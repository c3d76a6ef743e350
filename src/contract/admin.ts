import { z } from 'zod';
import { ERROR_CODES } from '../errors.ts';
import { KIND_NAMES, MEDIA, QUEUE_NAMES } from './kinds.ts';
import { Task, TaskState } from './task.ts';

/* What `/api/admin` answers. */

const time = z.iso.datetime();
const secondsOrNull = z.number().nullable();

export const WORKER_STATES = ['starting', 'idle', 'busy', 'draining', 'lost'] as const;

export const WorkerView = z
  .object({
    name: z.string(),
    kind: z.enum(KIND_NAMES),
    queue: z.enum(QUEUE_NAMES),
    host: z.string(),
    pid: z.int(),
    state: z.enum(WORKER_STATES).meta({ description: 'lost: silent without having signed off.' }),
    reason: z.string().nullable().meta({ description: 'Why it takes no tasks.' }),
    concurrency: z.int(),
    current: z.array(
      z.object({
        task_id: z.string(),
        media: z.enum(MEDIA).nullable(),
        started_at: time,
        percent: z.number().nullable(),
      }),
    ),
    done: z.int(),
    failed: z.int(),
    retried: z.int(),
    load: z.number().meta({ description: 'Of its host, over a minute.' }),
    cpu_percent: z.number().meta({ description: 'With its detection processes; 100 for each core.' }),
    rss_bytes: z.int().meta({ description: 'With its detection processes.' }),
    lanes: z.array(z.object({ pid: z.int(), rss_bytes: z.int() })),
    models: z.array(z.object({ name: z.string(), provider: z.enum(['cpu', 'cuda']) })),
    started_at: time,
    last_heartbeat: time,
    uptime_s: z.number(),
    silent_s: z.number(),
  })
  .meta({ id: 'Worker' });
export type WorkerView = z.infer<typeof WorkerView>;

export const Latency = z.object({ p50: secondsOrNull, p95: secondsOrNull, p99: secondsOrNull }).meta({
  id: 'Latency',
  description:
    'Seconds, to about the width of a histogram bucket, of tasks that succeeded or failed; null where none did.',
});

export const QueueTotals = z
  .object({
    succeeded: z.int(),
    failed: z.int(),
    revoked: z.int(),
    retried: z.int(),
    wait: Latency,
    run: Latency,
  })
  .meta({ id: 'QueueTotals' });

export const QueueView = z
  .object({
    queue: z.enum(QUEUE_NAMES),
    paused: z.boolean(),
    slots: z.int().meta({ description: 'Detections that the workers online can run at a time.' }),
    global_concurrency: z
      .int()
      .nullable()
      .meta({ description: 'Tasks of the queue that may run at a time over all workers; null for no limit.' }),
    global_rate_limit: z
      .object({ max: z.int(), duration_ms: z.int() })
      .nullable()
      .meta({ description: 'Tasks of the queue that may be begun in so long; null for no limit.' }),
    waiting: z.int(),
    prioritized: z.int(),
    active: z.int(),
    delayed: z.int(),
    completed: z.int().meta({ description: 'Kept results.' }),
    failed: z.int().meta({ description: 'Kept failures, cancelled ones among them.' }),
    oldest_waiting_s: z.number(),
    succeeded_per_minute: z.number().meta({ description: 'Over the last five minutes.' }),
    failed_per_minute: z.number(),
    success_rate: z.number().nullable().meta({ description: 'Within the window, 0 to 1; null where nothing ended.' }),
    totals: QueueTotals,
  })
  .meta({ id: 'Queue' });
export type QueueView = z.infer<typeof QueueView>;

export const Overview = z
  .object({
    storage: z.object({
      up: z
        .boolean()
        .nullable()
        .meta({ description: 'Whether files can be read; null where none are seen from here.' }),
      reason: z.string().nullable(),
    }),
    redis: z.object({ latency_ms: z.number(), used_bytes: z.int().nullable(), limit_bytes: z.int().nullable() }),
    workers: z.object({
      online: z.int(),
      busy: z.int(),
      starting: z.int(),
      draining: z.int(),
      lost: z.int(),
      slots: z.int(),
      slots_busy: z.int(),
    }),
    window: z.string(),
    success_rate: z.number().nullable(),
    queues: z.array(QueueView),
  })
  .meta({ id: 'Overview' });
export type Overview = z.infer<typeof Overview>;

export const History = z
  .object({
    step_s: z.int(),
    queues: z.array(
      z.object({
        queue: z.enum(QUEUE_NAMES),
        points: z.array(
          z.object({
            at: time,
            succeeded: z.int(),
            failed: z.int(),
            waiting: z.int().nullable(),
            wait_p95: secondsOrNull,
            run_p95: secondsOrNull,
          }),
        ),
      }),
    ),
  })
  .meta({ id: 'History', description: 'The last 24 hours, the oldest step first.' });
export type History = z.infer<typeof History>;

export const WorkerList = z.object({ workers: z.array(WorkerView) }).meta({ id: 'WorkerList' });

export const TaskRow = z
  .object({
    task_id: z.string(),
    queue: z.enum(QUEUE_NAMES),
    media: z.string(),
    state: TaskState,
    worker: z.string().nullable(),
    attempts: z.int(),
    priority: z.int().nullable(),
    created_at: time,
    queued_at: time.meta({ description: 'When it last began to wait: made, or queued again by hand.' }),
    started_at: time.nullable(),
    finished_at: time.nullable(),
    wait_s: secondsOrNull.meta({ description: 'From `queued_at` to its start.' }),
    run_s: secondsOrNull,
    error_code: z.enum(ERROR_CODES).nullable(),
    found: z
      .record(z.string(), z.int())
      .optional()
      .meta({ description: 'How often each label was found; only where the search was for one.' }),
  })
  .meta({ id: 'TaskRow' });
export type TaskRow = z.infer<typeof TaskRow>;

export const TaskPage = z
  .object({
    tasks: z.array(TaskRow),
    searched: z.int().meta({ description: 'Tasks that were looked at for this page.' }),
    unreadable: z
      .int()
      .meta({ description: 'Tasks among them whose result had to be read and could not: the key to it is missing.' }),
    next_cursor: z
      .string()
      .nullable()
      .meta({ description: 'Where to go on; null when all were looked at. A page may be short of its limit.' }),
  })
  .meta({ id: 'TaskPage' });
export type TaskPage = z.infer<typeof TaskPage>;

export const WorkerDetail = z
  .object({ worker: WorkerView, recent: z.array(TaskRow), searched: z.int() })
  .meta({ id: 'WorkerDetail' });

export const LogTail = z
  .object({
    available: z.boolean(),
    reason: z.string().optional().meta({ description: 'Why there is none here.' }),
    lines: z.array(
      z.object({
        time: z.string().nullable(),
        level: z.string(),
        message: z.string(),
        task_id: z.string().nullable(),
        more: z.string().nullable().meta({ description: 'The rest of the line as JSON; for admins.' }),
      }),
    ),
  })
  .meta({ id: 'LogTail' });
export type LogTail = z.infer<typeof LogTail>;

export const TimelineEntry = z.object({
  at: time,
  what: z.enum(['created', 'queued again', 'started', 'attempt ended', 'lost', 'finished']),
  detail: z.string().nullable(),
});
export type TimelineEntry = z.infer<typeof TimelineEntry>;

export const TaskDetail = z
  .object({
    task: Task,
    media: z.string().nullable(),
    owner: z.string().nullable().meta({ description: 'Name of the API key that posted it.' }),
    request_id: z.string().nullable(),
    file: z.object({ mime: z.string(), bytes: z.int(), width: z.int(), height: z.int() }).nullable(),
    priority: z.int().nullable().meta({ description: 'As it stands in the queue.' }),
    queued_at: time.meta({ description: 'When it last began to wait: made, or queued again by hand.' }),
    timeline: z.array(TimelineEntry),
    stack: z.string().nullable().meta({ description: 'Where the last fault came from; for admins.' }),
    original_url: z.string().nullable(),
    annotated_url: z.string().nullable().meta({ description: 'null where there is no such copy, or not yet.' }),
    detections_url: z.string().nullable(),
    board_url: z.string().nullable(),
  })
  .meta({ id: 'TaskDetail' });
export type TaskDetail = z.infer<typeof TaskDetail>;

export const ActionOutcome = z
  .object({
    applied: z.boolean().meta({ description: 'Whether this request has changed anything.' }),
    message: z.string().meta({ description: 'What happened, or why nothing did.' }),
  })
  .meta({ id: 'ActionOutcome' });
export type ActionOutcome = z.infer<typeof ActionOutcome>;

/** The action has changed something. */
export const applied = (message: string): ActionOutcome => ({ applied: true, message });

/** The action has changed nothing; the sentence says why. */
export const notApplied = (message: string): ActionOutcome => ({ applied: false, message });

export const BulkOutcome = ActionOutcome.extend({
  count: z.int().meta({ description: 'Tasks that it was done to.' }),
  skipped: z.int(),
  unreadable: z.int().meta({ description: 'Skipped because the key to them is missing.' }),
  more: z.boolean().meta({ description: 'Some may be left: send the same request again.' }),
}).meta({ id: 'BulkOutcome' });
export type BulkOutcome = z.infer<typeof BulkOutcome>;

export const AuditList = z
  .object({
    entries: z.array(
      z.object({
        id: z.string(),
        at: time,
        who: z.string(),
        action: z.string(),
        target: z.string(),
        result: z.string(),
        detail: z.string(),
      }),
    ),
    next_before: z.string().nullable(),
  })
  .meta({ id: 'AuditList' });
export type AuditList = z.infer<typeof AuditList>;

export const Me = z
  .object({ name: z.string(), role: z.enum(['admin', 'viewer']), version: z.string() })
  .meta({ id: 'Me' });
export type Me = z.infer<typeof Me>;
