import type { RequestHandler } from 'express';
import { kindOfQueue } from '../contract/kinds.ts';
import { AppError } from '../errors.ts';
import type { Queues } from '../queue/queues.ts';
import { changesState } from './same-origin.ts';

/** Calls of Bull Board that would make waiting tasks vanish, change what was asked for, or make tasks of nothing. */
const OF_QUEUES = /^\/api\/queues\/[^/]+\/(?:empty|obliterate|add|clean\/(?!completed$|failed$)[^/]+)$/;
const OF_JOBS = /^\/api\/queues\/([^/]+)\/([^/]+)\/(clean|update-data)$/;

const refusal = () =>
  new AppError(
    'FORBIDDEN',
    'A task that was accepted is neither removed nor rewritten: cancel it on the page Tasks. Tasks are posted to the API.',
  );

/** Lets Bull Board do everything but break the promise that an accepted task ends where its client can see it. */
export function keepAcceptedTasks(queues: Queues): RequestHandler {
  return async (request, _response, next) => {
    if (!changesState(request)) return next();
    if (OF_QUEUES.test(request.path)) throw refusal();
    const [, queue = '', taskId = '', action] = OF_JOBS.exec(request.path) ?? [];
    const kind = kindOfQueue(queue);
    if (kind === undefined) return next();
    const job = await queues[kind].getJob(taskId);
    if (job !== undefined && (action === 'update-data' || job.finishedOn === undefined)) throw refusal();
    next();
  };
}
