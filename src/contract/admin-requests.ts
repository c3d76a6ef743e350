import { z } from 'zod';
import { ERROR_CODES } from '../errors.ts';
import { QUEUE_NAMES } from './kinds.ts';
import { wholeBetween } from './options.ts';
import { TASK_STATES } from './task.ts';

/* What operators send to `/api/admin`: query parameters and JSON bodies. */

const oneOf = (values: readonly string[]) => ({ error: `must be one of ${values.join(', ')}` });
const moment = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-01-31T12:00:00Z' });
const seconds = z
  .string()
  .trim()
  .regex(/^\d+(\.\d+)?$/, 'must be a number of seconds')
  .transform(Number)
  .pipe(z.number());

export const WORKER_NAME = /^[a-z]{1,20}_worker_\d{1,6}$/;

const FILTERS = z.strictObject({
  id: z
    .string({ error: 'must be a text' })
    .trim()
    .toLowerCase()
    .regex(/^[0-9a-f][0-9a-f-]{3,35}$/, 'must be an id of a task or at least its first four characters')
    .optional()
    .meta({ description: 'The id, or how it begins.' }),
  state: z.enum(TASK_STATES, oneOf(TASK_STATES)).optional(),
  queue: z.enum(QUEUE_NAMES, oneOf(QUEUE_NAMES)).optional(),
  worker: z
    .string({ error: 'must be a text' })
    .trim()
    .regex(WORKER_NAME, 'must be the name of a worker such as face_worker_1')
    .optional()
    .meta({ description: 'The worker that ran it last.' }),
  label: z
    .string({ error: 'must be a text' })
    .trim()
    .min(1, 'must not be empty')
    .max(100, 'must have at most 100 characters')
    .optional()
    .meta({ description: 'Something that was found, such as `dog` or `face`.' }),
  error_code: z.enum(ERROR_CODES, { error: 'must be a known error code' }).optional(),
  from: moment.optional().meta({ description: 'Created at this time or later.' }),
  to: moment.optional().meta({ description: 'Created at this time or earlier.' }),
  min_run_s: seconds.optional().meta({ description: 'Ran at least so many seconds.' }),
  max_run_s: seconds.optional().meta({ description: 'Ran at most so many seconds.' }),
  min_wait_s: seconds.optional().meta({ description: 'Waited at least so many seconds for its start.' }),
  max_wait_s: seconds.optional().meta({ description: 'Waited at most so many seconds for its start.' }),
});

/** A range that nothing can lie in is a mistake, not a search that finds nothing. */
function checkRanges({ value, issues }: z.core.ParsePayload<z.infer<typeof FILTERS>>): void {
  const refuse = (path: string, message: string) =>
    issues.push({ code: 'custom', path: [path], message, input: value });
  const { from, to, min_run_s, max_run_s, min_wait_s, max_wait_s } = value;
  if (from !== undefined && to !== undefined && Date.parse(from) > Date.parse(to))
    refuse('from', 'must not be later than to');
  if ((min_run_s ?? 0) > (max_run_s ?? Number.POSITIVE_INFINITY))
    refuse('min_run_s', 'must not be greater than max_run_s');
  if ((min_wait_s ?? 0) > (max_wait_s ?? Number.POSITIVE_INFINITY))
    refuse('min_wait_s', 'must not be greater than max_wait_s');
}

/** What tasks are looked for; everything that is given must hold. */
export const TaskFilter = FILTERS.check(checkRanges);
export type TaskFilter = z.infer<typeof TaskFilter>;

export const ORDERS = ['newest', 'oldest', 'longest_run', 'longest_wait'] as const;
export type Order = (typeof ORDERS)[number];

export const TaskSearch = FILTERS.extend({
  sort: z.enum(ORDERS, oneOf(ORDERS)).optional().meta({
    description:
      'newest where unset; of those that wait the next first. The longest are the longest of the tasks that were looked at for this page.',
  }),
  limit: wholeBetween(1, 100).default(25).meta({ description: 'Tasks on a page.' }),
  cursor: z
    .string({ error: 'must be a text' })
    .max(1000, 'is not one that this search has given')
    .optional()
    .meta({ description: '`next_cursor` of the page before.' }),
}).check(checkRanges);
export type TaskSearch = z.infer<typeof TaskSearch>;

export const WINDOWS = { '5m': 5, '1h': 60, '24h': 24 * 60 } as const;
export type Window = keyof typeof WINDOWS;
const windowNames = Object.keys(WINDOWS) as [Window, ...Window[]];

export const OverviewParameters = z.strictObject({
  window: z
    .enum(windowNames, oneOf(windowNames))
    .default('1h')
    .meta({ description: 'The time over which rates and percentiles are taken.' }),
});

export const LogParameters = z.strictObject({
  lines: wholeBetween(1, 500).default(100).meta({ description: 'At most so many lines.' }),
});

export const AuditParameters = z.strictObject({
  limit: wholeBetween(1, 200).default(50),
  before: z
    .string({ error: 'must be a text' })
    .regex(/^\d{1,15}-\d{1,15}$/, 'is not the id of an entry')
    .optional()
    .meta({ description: 'Id of the entry to go on behind.' }),
});

export const NoParameters = z.strictObject({});

export const ConcurrencyOrder = z.strictObject({
  concurrency: z.int('must be a whole number').min(1, 'must be at least 1').max(256, 'must be at most 256'),
});

export const PriorityOrder = z.strictObject({
  priority: z
    .int('must be a whole number')
    .min(0, 'must be between 0 and 9')
    .max(9, 'must be between 0 and 9')
    .meta({ description: '9 is the most urgent.' }),
});

export const CleanOrder = z.strictObject({
  state: z.enum(['completed', 'failed'], oneOf(['completed', 'failed'])),
  older_than_s: z
    .number('must be a number of seconds')
    .min(0, 'must not be negative')
    .max(1e9, 'must be at most 1000000000')
    .meta({ description: 'Only tasks that ended so long ago.' }),
});

/** Most tasks that one request names. */
const MOST_IDS = 200;

export const RetryOrder = z.union(
  [
    z.strictObject({
      task_ids: z
        .array(z.guid('must be ids of tasks'))
        .min(1, 'must name at least one task')
        .max(MOST_IDS, `must name at most ${MOST_IDS} tasks`),
    }),
    z.strictObject({
      filter: TaskFilter,
      failed_before: moment.optional().meta({
        description:
          'Only tasks that failed before this time; now where unset. Whoever asks again while `more` is true sends the same, else what has failed again meanwhile is queued once more.',
      }),
    }),
  ],
  { error: 'must name either task_ids, 1 to 200 ids of tasks, or a filter as the search takes it' },
);
