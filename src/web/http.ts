import type { RequestHandler, Response, Router } from 'express';
import { successEnvelope } from '../contract/envelope.ts';
import { AppError } from '../errors.ts';

/** Answers with a success envelope. */
export function sendData(response: Response, status: number, data: unknown, message?: string): void {
  response.status(status).json(successEnvelope(data, message));
}

type Method = 'get' | 'post' | 'delete';

declare global {
  namespace Express {
    interface Locals {
      /** The pattern that the request's path matched, such as `/api/task/:id`. */
      route?: string;
    }
  }
}

/** Registers the handlers of one path; any other method is answered 405 with `Allow`. */
export function addRoute(
  router: Router,
  path: string,
  handlers: Partial<Record<Method, RequestHandler | RequestHandler[]>>,
): void {
  const route = router.route(path);
  const allowed: string[] = [];
  route.all((request, response, next) => {
    response.locals.route = `${request.baseUrl}${path}`;
    next();
  });
  for (const method of ['get', 'post', 'delete'] as const) {
    const handler = handlers[method];
    if (handler === undefined) continue;
    allowed.push(method.toUpperCase(), ...(method === 'get' ? ['HEAD'] : []));
    route[method](handler);
  }
  route.options((_request, response) => {
    response.set('Allow', allowed.join(', ')).status(204).end();
  });
  route.all((request, response) => {
    response.set('Allow', allowed.join(', '));
    throw new AppError('METHOD_NOT_ALLOWED', `${request.method} is not possible here, only ${allowed.join(', ')}.`);
  });
}

/** A signal that aborts when the client hangs up before it has its answer. */
export function clientGone(response: Response): AbortSignal {
  const gone = new AbortController();
  const abort = () => {
    if (!response.writableFinished) gone.abort();
  };
  if (response.closed) abort();
  else response.once('close', abort);
  return gone.signal;
}
