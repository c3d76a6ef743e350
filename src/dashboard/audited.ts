import type { Redis } from 'ioredis';
import type { ActionOutcome } from '../contract/admin.ts';
import { AppError } from '../errors.ts';
import type { NoteAction } from '../queue/audit.ts';
import { isOutage } from './outage.ts';

/**
 * What came of an action; `uncertain` where nobody has said, and it may be done all the same. `taskIds` are those that it
 * was done to: for the log, not for the answer.
 */
export type Attempted<T extends ActionOutcome> = T & { uncertain?: boolean; taskIds?: readonly string[] };

export type Audited = <T extends ActionOutcome>(
  who: string,
  action: string,
  target: string,
  work: () => Promise<Attempted<T>>,
) => Promise<T>;

/** Makes actions of operators leave an entry in the audit log that says how they went. */
export function auditActions(redis: Redis, noteAction: NoteAction): Audited {
  return async <T extends ActionOutcome>(
    who: string,
    action: string,
    target: string,
    work: () => Promise<Attempted<T>>,
  ) => {
    const note = (result: string, detail: string, taskIds?: readonly string[]) =>
      noteAction({ who, action, target, result, detail }, taskIds);
    try {
      const { uncertain = false, taskIds, ...outcome } = await work();
      await note(uncertain ? 'unknown' : outcome.applied ? 'done' : 'unchanged', outcome.message, taskIds);
      return outcome as unknown as T;
    } catch (error) {
      if (error instanceof AppError && error.code !== 'QUEUE_UNAVAILABLE') await note('failed', error.message);
      // Not waited for: the operator would be told twice as late. A Redis that merely hangs takes it when it goes on; of
      // one that is away only the log knows.
      else if (error instanceof AppError || isOutage(error, redis))
        void note('unknown', 'Redis did not answer in time; it may be done all the same');
      else await note('failed', 'an unexpected fault');
      throw error;
    }
  };
}
