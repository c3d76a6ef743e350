import type { ErrorRequestHandler, RequestHandler } from 'express';
import { errorEnvelope } from '../contract/envelope.ts';
import { AppError, StorageError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { publicError, storageUnavailable } from '../queue/failure.ts';

export const nothingHere: RequestHandler = () => {
  throw new AppError('NOT_FOUND', 'There is nothing at this address.');
};

function asAppError(error: unknown): AppError {
  if (error instanceof StorageError) return storageUnavailable(error);
  const status = (error as { status?: unknown } | null)?.status;
  if (error instanceof AppError || typeof status !== 'number' || status < 400 || status >= 500)
    return publicError(error);
  return new AppError(status === 404 ? 'NOT_FOUND' : 'BAD_REQUEST', 'The request cannot be understood.', {
    cause: error,
  });
}

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const page = ({ status, message }: AppError) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Recognize</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}</style>
<h1>${status}</h1>
<p>${escaped(message)}</p>
</html>
`;

/** The contract's envelope; Bull Board's page shows a notice when it finds `error`, with the message below it. */
export function errorBody(error: AppError): object {
  return { ...errorEnvelope(error), error: error.code };
}

/** Errors as a page for a person, as the contract's envelope for everything else. */
export function errorPages(log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    const known = asAppError(error);
    // An outage of Redis is logged by its connection, not anew with every poll of an open page.
    const level = known.status >= 500 && known.code !== 'QUEUE_UNAVAILABLE' ? 'error' : 'debug';
    log[level]({ path: request.path, code: known.code, err: known.cause }, 'dashboard: request refused');
    if (response.headersSent) return next(error);
    const wait = known.retryAfterSeconds;
    if (wait !== undefined) response.set('Retry-After', String(wait));
    response.status(known.status);
    if (request.accepts(['json', 'html']) === 'html') {
      // A page that is open while Redis comes back shows the dashboard by itself.
      if (known.status === 503 && wait !== undefined) response.set('Refresh', String(wait));
      response.type('html').send(page(known));
    } else {
      response.json(errorBody(known));
    }
  };
}
