import type { RequestHandler } from 'express';
import type { Tracing } from '../telemetry/tracing.ts';

/** Asked every few seconds by machines; not worth a trace. */
const UNTRACED = /^\/(api\/health|metrics)(\/|$)/;

/** A span for every request, which goes on with the task that it makes. */
export function traceRequests(tracing: Tracing): RequestHandler {
  return (request, response, next) => {
    if (UNTRACED.test(request.path)) return next();
    const span = tracing.request(request.method, request.headers);
    response.once('close', () => span.end(response.locals.route ?? '(none)', response.statusCode, request.id));
    span.run(next);
  };
}
