import type { BulkOutcome } from '../contract/admin.ts';
import type { RetryOrder } from '../contract/admin-requests.ts';
import { AppError } from '../errors.ts';
import type { TaskActions } from '../queue/task-actions.ts';
import type { Attempted } from './audited.ts';

/** Failed tasks that are to be queued again: some by their ids, or all that match. */
export type RetrySelection = ReturnType<typeof RetryOrder.parse>;

/** Ids that an entry of the audit log names; the log names all. */
const IDS_TOLD = 20;

/** @throws AppError INVALID_OPTION for a filter that no failed task can match */
export async function retrySelection(actions: TaskActions, selection: RetrySelection): Promise<Attempted<BulkOutcome>> {
  if ('task_ids' in selection) {
    const { outcome, taskIds } = await actions.retryEach([...new Set(selection.task_ids)]);
    return { ...outcome, taskIds };
  }
  const { filter, failed_before } = selection;
  if (filter.state !== undefined && filter.state !== 'FAILURE')
    throw new AppError('INVALID_OPTION', 'Option filter.state must be FAILURE: only failed tasks are queued again.');
  const before = failed_before === undefined ? undefined : Date.parse(failed_before);
  const { outcome, taskIds } = await actions.retryMatching(filter, before);
  return { ...outcome, taskIds };
}

/** For the audit log. */
export function describeSelection(selection: RetrySelection): string {
  if (!('task_ids' in selection)) return `failed tasks ${JSON.stringify(selection.filter)}`;
  const { task_ids: ids } = selection;
  const others = ids.length - IDS_TOLD;
  return [...ids.slice(0, IDS_TOLD), ...(others > 0 ? [`and ${others} more`] : [])].join(' ');
}
