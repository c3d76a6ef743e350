import type { RequestHandler } from 'express';
import type { Redis } from 'ioredis';
import { kindOfQueue } from '../contract/kinds.ts';
import { AppError } from '../errors.ts';
import type { Queues } from '../queue/queues.ts';
import { isOutage, unavailable } from './outage.ts';
import { changesState } from './same-origin.ts';

/** Calls of Bull Board that would make waiting tasks vanish, change what was asked for, or make tasks of nothing. */
const OF_QUEUES = /^\/api\/queues\/[^/]+\/(?:empty|obliterate|add|clean\/(?!completed$|failed$)[^/]+)$/;
const OF_JOBS = /^\/api\/queues\/([^/]+)\/([^/]+)\/(clean|update-data|retry)$/;

/** Bull Board knows no {@link queuePriority}: what it moves jumps every queue, or is none that a worker looks for. */
const OF_ORDER = /^\/api\/queues\/[^/]+\/(?:promote|[^/]+\/(?:priority|promote|delay))$/;

/** A result that somebody has been told of would be gone. */
const OF_RESULTS = /^\/api\/queues\/[^/]+\/retry\/completed$/;

/** A path as the board's own routes take it, which look neither at case nor at an ending slash; undefined for none. */
function routePath(path: string): string | undefined {
  try {
    return path.split('/').map(decodeURIComponent).join('/').toLowerCase().replace(/\/+$/, '');
  } catch {
    return undefined;
  }
}

const refusal = () =>
  new AppError(
    'FORBIDDEN',
    'A task that was accepted is neither removed nor rewritten: cancel it on the page Tasks. Tasks are posted to the API.',
  );

const orderRefusal = () =>
  new AppError(
    'FORBIDDEN',
    "The order of tasks is changed on a task's own page (/tasks/<id>, Priority). A task that waits for its next attempt is started by itself.",
  );

const resultRefusal = () =>
  new AppError('FORBIDDEN', 'A task that succeeded keeps its result: post the file again to have it looked at anew.');

/**
 * Lets Bull Board do everything but break the promises that an accepted task ends where its client can see it, stays
 * ended, and waits in the place of its priority.
 */
export function keepAcceptedTasks(redis: Redis, queues: Queues): RequestHandler {
  return async (request, _response, next) => {
    if (!changesState(request)) return next();
    const path = routePath(request.path);
    if (path === undefined || OF_QUEUES.test(path)) throw refusal();
    if (OF_ORDER.test(path)) throw orderRefusal();
    if (OF_RESULTS.test(path)) throw resultRefusal();
    const [, queue = '', taskId = '', action] = OF_JOBS.exec(path) ?? [];
    const kind = kindOfQueue(queue);
    if (kind === undefined) return next();
    const job = await queues[kind].getJob(taskId).catch((error: unknown) => {
      throw isOutage(error, redis) ? unavailable(error) : error;
    });
    if (job === undefined) return next();
    if (action === 'retry') {
      if (job.returnvalue !== null && job.returnvalue !== undefined) throw resultRefusal();
    } else if (action === 'update-data' || job.finishedOn === undefined) throw refusal();
    next();
  };
}
