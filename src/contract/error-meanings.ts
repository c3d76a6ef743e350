import type { ErrorCode } from '../errors.ts';

/** What each error code tells a client; the messages in answers are more to the point. */
export const ERROR_MEANINGS: Record<ErrorCode, string> = {
  NO_FILE: 'The field `file` is missing or empty.',
  INVALID_OPTION: 'An option is unknown, malformed or out of range; the message names it.',
  BAD_REQUEST: 'The request cannot be read, such as a broken multipart body.',
  UNAUTHORIZED: 'An API key is needed and none, or an unknown one, was sent.',
  FORBIDDEN: 'This caller may not do that.',
  TASK_NOT_FOUND: 'The task was never there, has expired or belongs to another API key.',
  NOT_FOUND: 'There is nothing under this address (any more).',
  METHOD_NOT_ALLOWED: 'The address exists, the method does not; `Allow` lists those that do.',
  TASK_FINISHED: 'The task has ended and can no longer be cancelled.',
  FILE_TOO_LARGE: 'The file is larger than the server takes.',
  UNSUPPORTED_MEDIA_TYPE: 'The content of the file is of no supported type, whatever its name says.',
  UNREADABLE_MEDIA: 'The file is of a supported type, but broken, empty or of too many pixels.',
  IDEMPOTENCY_MISMATCH: 'The Idempotency-Key was used before for another file, route or options.',
  RATE_LIMITED: 'Too many requests, or too many wrong passwords; `Retry-After` says when to come back.',
  INTERNAL: 'Something went wrong on the side of the service.',
  WORKER_LOST: 'The process that worked on the task died twice.',
  NOT_IN_SYNC_MODE: 'The service runs without a queue, where this does not exist.',
  MODEL_UNAVAILABLE: 'There is no model for this task; the message names the command that fetches one.',
  QUEUE_UNAVAILABLE: 'Redis or the file storage does not answer; nothing was kept of the request.',
  QUEUE_FULL: 'Too many tasks are waiting.',
  TIMEOUT: 'The task took longer than it may.',
};
