import { z } from 'zod';
import { QUEUE_NAMES } from './kinds.ts';
import { wholeBetween } from './options.ts';
import { TASK_STATES } from './task.ts';

/** Query parameters of the list of tasks. */
export const ListParameters = z.strictObject({
  state: z
    .enum(TASK_STATES, { error: `must be one of ${TASK_STATES.join(', ')}` })
    .optional()
    .meta({ description: 'Only tasks in this state.' }),
  queue: z
    .enum(QUEUE_NAMES, { error: `must be one of ${QUEUE_NAMES.join(', ')}` })
    .optional()
    .meta({ description: 'Only tasks of this queue.' }),
  limit: wholeBetween(1, 200).default(50).meta({ description: 'Tasks on a page.' }),
  cursor: z.string().optional().meta({ description: '`next_cursor` of the page before.' }),
});
