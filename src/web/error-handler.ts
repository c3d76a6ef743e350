import type { ErrorRequestHandler, Request, RequestHandler } from 'express';
import { errorEnvelope } from '../contract/envelope.ts';
import { AppError, type ErrorCode, StorageError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { publicError, storageUnavailable } from '../queue/failure.ts';

/** For how long the rest of a refused upload is still taken in, in all and from one piece to the next, in ms. */
const LINGER_MS = 30_000;
const LINGER_IDLE_MS = 5_000;

/** States that the service is in for a while and says elsewhere, too: no fault to wake somebody up for each time. */
const EXPECTED = new Set<ErrorCode>([
  'MODEL_UNAVAILABLE',
  'NOT_IN_SYNC_MODE',
  'QUEUE_UNAVAILABLE',
  'QUEUE_FULL',
  'TIMEOUT',
]);

/** What answers an address that no route has. */
export const nothingHere: RequestHandler = () => {
  throw new AppError('NOT_FOUND', 'There is nothing at this address.');
};

/** Errors of Express itself (a malformed URL, a bad Range) carry a 4xx status. */
function asAppError(error: unknown): AppError {
  if (error instanceof StorageError) return storageUnavailable(error);
  const status = (error as { status?: unknown } | null)?.status;
  if (!(error instanceof AppError) && typeof status === 'number' && status >= 400 && status < 500) {
    return new AppError(status === 404 ? 'NOT_FOUND' : 'BAD_REQUEST', 'The request cannot be understood.', {
      cause: error,
    });
  }
  return publicError(error);
}

/** Work that was ended because its client had hung up is nobody's fault. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Many clients read no answer before they have sent everything: a connection closed on them would hide it. */
function linger(request: Request): void {
  const giveUp = () => request.destroy();
  const atLast = setTimeout(giveUp, LINGER_MS);
  const idle = setTimeout(giveUp, LINGER_IDLE_MS);
  request.on('data', () => idle.refresh());
  request.once('close', () => {
    clearTimeout(atLast);
    clearTimeout(idle);
  });
}

/** Every error becomes the contract's envelope; what is our fault is logged with its cause, never sent. */
export function errorHandler(log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    const known = asAppError(error);
    const about = { requestId: request.id, path: request.path, code: known.code };
    if (EXPECTED.has(known.code)) log.warn({ ...about, reason: known.message }, 'request refused');
    else if (known.status >= 500 && !(response.closed && isAbort(known.cause)))
      log.error({ ...about, err: known.cause ?? known }, 'request failed');
    else log.debug(about, 'request refused');
    if (response.headersSent) return next(error);
    if (known.retryAfterSeconds !== undefined) response.set('Retry-After', String(known.retryAfterSeconds));
    if (!request.complete) linger(request);
    response.status(known.status).json(errorEnvelope(known));
  };
}
