import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../errors.ts';
import { KIND_NAMES, MEDIA, QUEUE_NAMES } from './kinds.ts';
import { TaskOptions } from './options.ts';
import { TaskResult } from './results.ts';

export const TASK_STATES = ['PENDING', 'PROCESSING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED'] as const;
export const TaskState = z.enum(TASK_STATES).meta({ id: 'TaskState' });
export type TaskState = z.infer<typeof TaskState>;

/** Codes with which tasks fail; the others are for requests. */
export const TASK_ERROR_CODES = [
  'UNREADABLE_MEDIA',
  'UNSUPPORTED_MEDIA_TYPE',
  'MODEL_UNAVAILABLE',
  'TIMEOUT',
  'WORKER_LOST',
  'INTERNAL',
] as const satisfies readonly ErrorCode[];

export const TaskError = z
  .object({ error_code: z.enum(ERROR_CODES), message: z.string(), details: z.array(z.unknown()).optional() })
  .meta({ id: 'TaskError' });
export type TaskError = z.infer<typeof TaskError>;

export const Progress = z
  .object({
    percent: z.number().min(0).max(100),
    done: z.int(),
    total: z.int(),
    unit: z.string(),
    eta_seconds: z.number().optional(),
    per_second: z.number().optional().meta({ description: 'Units done a second.' }),
  })
  .meta({ id: 'Progress' });
export type Progress = z.infer<typeof Progress>;

export const Task = z
  .object({
    task_id: z.string(),
    state: TaskState,
    status: z.string().meta({ description: 'A sentence for a person.' }),
    position: z.int().optional().meta({ description: 'Place in the queue, 1 is next.' }),
    progress: Progress.optional(),
    result: TaskResult.optional(),
    error: TaskError.optional(),
    queue: z.enum(QUEUE_NAMES),
    worker: z.string().optional(),
    attempts: z.int().meta({ description: 'How often it was started.' }),
    created_at: z.iso.datetime(),
    started_at: z.iso.datetime().optional(),
    finished_at: z.iso.datetime().optional(),
    options: TaskOptions.nullable().meta({ description: 'null where they cannot be read, see `unreadable`.' }),
    unreadable: TaskError.optional().meta({
      description: 'Why options, result or sentence of an error cannot be shown: the key to them is missing.',
    }),
  })
  .meta({ id: 'Task' });
export type Task = z.infer<typeof Task>;

/** Whether a task in this state stays in it. */
export function isFinished(state: TaskState): boolean {
  return state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED';
}

/** A stored upload as the queue carries it: names, never paths. */
export const StoredFile = z.object({
  name: z.string(),
  mime: z.string(),
  bytes: z.int(),
  sha256: z.string(),
  /** Size in pixels as a person sees it. */
  width: z.int(),
  height: z.int(),
});
export type StoredFile = z.infer<typeof StoredFile>;

export const JOB_VERSION = 1;

/** What a job carries through Redis. */
export const JobData = z.object({
  v: z.literal(JOB_VERSION),
  kind: z.enum(KIND_NAMES),
  media: z.enum(MEDIA),
  /** Name of the API key that posted it, null where keys are off. */
  owner: z.string().nullable(),
  request_id: z.string(),
  file: StoredFile,
  /** Name under which the annotated copy is or will be, null when not wanted. */
  annotated: z.string().nullable(),
  options: TaskOptions,
});
export type JobData = z.infer<typeof JobData>;
