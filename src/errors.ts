/** HTTP status of every error code that a client can meet; the single list of them. */
export const ERROR_STATUS = {
  NO_FILE: 400,
  INVALID_OPTION: 400,
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  TASK_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  TASK_FINISHED: 409,
  FILE_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNREADABLE_MEDIA: 422,
  IDEMPOTENCY_MISMATCH: 422,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  WORKER_LOST: 500,
  NOT_IN_SYNC_MODE: 501,
  MODEL_UNAVAILABLE: 503,
  QUEUE_UNAVAILABLE: 503,
  QUEUE_FULL: 503,
  TIMEOUT: 504,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export const ERROR_CODES = Object.keys(ERROR_STATUS) as [ErrorCode, ...ErrorCode[]];

/** Whether a text is one of the codes. */
export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(ERROR_STATUS, value);
}

/** An error whose sentence may be shown to a client: no path, host or stack belongs into `message`. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: unknown[] | undefined;
  /** Seconds after which a client may try again; becomes `Retry-After`. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: unknown[]; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return ERROR_STATUS[this.code];
  }
}

/** A fault of the surroundings (disk, network, a killed process): trying again may help. */
export class TransientError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'TransientError';
  }
}

/** Stored files cannot be read or written at the moment. */
export class StorageError extends TransientError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'StorageError';
  }
}

/** The detection process ended while it worked on a task. */
export class LaneLostError extends TransientError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'LaneLostError';
  }
}

/** A setting or a circumstance that stops a process at start; the sentence is all that is printed. */
export class StartError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StartError';
  }
}
