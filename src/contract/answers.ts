import { z } from 'zod';
import { KIND_NAMES, QUEUE_NAMES, type QueueName } from './kinds.ts';
import { TaskResult } from './results.ts';
import { Task } from './task.ts';

/** Answer to an upload whose task goes on without the client. */
export const QueuedTask = z
  .object({ task_id: z.string(), status: z.literal('queued'), message: z.string() })
  .meta({ id: 'QueuedTask' });

/** Answer to an upload in sync mode. */
export const SyncResult = z
  .intersection(TaskResult, z.object({ task_id: z.string() }))
  .meta({ id: 'SyncResult', description: 'The result itself, in sync mode.' });

export const CancelledTask = z
  .object({ task_id: z.string(), state: z.literal('REVOKED') })
  .meta({ id: 'CancelledTask' });

export const TaskList = z
  .object({
    tasks: z.array(Task),
    next_cursor: z.string().nullable().meta({ description: 'Pass it as `cursor` for the next page; null at the end.' }),
  })
  .meta({ id: 'TaskList' });

export const ModelList = z
  .object({
    models: z.array(
      z
        .object({
          name: z.string(),
          task: z.enum(KIND_NAMES),
          input_size: z
            .object({
              width: z.int().nullable(),
              height: z.int().nullable(),
              free: z.boolean().meta({ description: 'Whether the option `input_size` may choose it.' }),
            })
            .meta({ description: 'Pixels; null where the model has no input size of its own.' }),
          labels: z.array(z.string()),
          licence: z.string(),
          confidence: z.number().meta({ description: 'Default of the option `confidence`.' }),
          nms: z.number().meta({ description: 'Default of the option `nms`.' }),
          default: z.boolean(),
        })
        .meta({ id: 'Model' }),
    ),
  })
  .meta({ id: 'ModelList' });

export const QueueDepth = z
  .object({
    depth: z.int().meta({ description: 'Everything that a worker could take or has taken.' }),
    waiting: z.int(),
    prioritized: z.int(),
    active: z.int(),
    delayed_due: z.int().meta({ description: 'Tasks to be tried again whose time has come.' }),
    oldest_waiting_s: z.number(),
  })
  .meta({ id: 'QueueDepth' });
export type QueueDepth = z.infer<typeof QueueDepth>;

/** What an autoscaler needs to know. */
export const ScalingView = z
  .object({
    queues: z.object(
      Object.fromEntries(QUEUE_NAMES.map((queue) => [queue, QueueDepth])) as Record<QueueName, typeof QueueDepth>,
    ),
  })
  .meta({ id: 'ScalingView' });
export type ScalingView = z.infer<typeof ScalingView>;

export const Live = z.object({ live: z.literal(true) });
export const Ready = z.object({ ready: z.literal(true) });
