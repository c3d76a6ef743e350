import type { TaskError } from '../contract/task.ts';
import { AppError, isErrorCode, StorageError } from '../errors.ts';

export const LOST_SENTENCE = 'The process that worked on the task died twice; the task was given up.';

/** What is said of a job whose data this version does not understand. */
export const OTHER_VERSION_SENTENCE = 'The task was written by another version of the service.';

/** Why a job failed whose task was cancelled while it ran. */
export const REVOKED_REASON = 'REVOKED: cancelled';

/** The one text in which a job keeps why it failed: `CODE: sentence`, details as JSON on a second line. */
export function failureText(error: AppError): string {
  const details = error.details === undefined ? '' : `\n${JSON.stringify(error.details)}`;
  return `${error.code}: ${error.message}${details}`;
}

/** Reads {@link failureText} back; what somebody else wrote becomes INTERNAL without its text. */
export function parseFailure(reason: string): TaskError {
  const [first = '', second] = reason.split('\n', 2);
  const match = /^([A-Z_]+): (.*)$/.exec(first);
  const code = match?.[1];
  if (code === undefined || !isErrorCode(code)) {
    return { error_code: 'INTERNAL', message: 'The task failed for an unexpected reason.' };
  }
  const error: TaskError = { error_code: code, message: match?.[2] ?? '' };
  if (second !== undefined) {
    try {
      error.details = JSON.parse(second) as unknown[];
    } catch {
      // a text that was cut: the sentence is enough
    }
  }
  return error;
}

/** What is said of an id that was never issued, or whose time is over. */
export const taskNotFound = () => new AppError('TASK_NOT_FOUND', 'There is no such task, or its result has expired.');

/** The AppError that a client gets in place of any error. */
export function publicError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const sentence =
    error instanceof StorageError ? 'The storage for files did not answer.' : 'Something went wrong on our side.';
  return new AppError('INTERNAL', sentence, { cause: error });
}

/** What the request of a client gets while Redis cannot be reached. */
export function queueUnavailable(cause: unknown): AppError {
  return new AppError('QUEUE_UNAVAILABLE', 'The task queue cannot be reached at the moment. Try again shortly.', {
    retryAfterSeconds: 5,
    cause,
  });
}

/** What the request of a client gets while stored files cannot be reached. */
export function storageUnavailable(cause: StorageError): AppError {
  return new AppError(
    'QUEUE_UNAVAILABLE',
    'The storage for files cannot be reached at the moment. Try again shortly.',
    {
      retryAfterSeconds: 5,
      cause,
    },
  );
}
