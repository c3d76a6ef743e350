import type { RequestHandler, Router } from 'express';
import { ListParameters } from '../contract/list-parameters.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { TaskService } from '../queue/task-service.ts';
import type { Storage } from '../storage/storage.ts';
import { isLoopback } from './access.ts';
import { addRoute, sendData } from './http.ts';
import { removeSoon } from './remove-soon.ts';
import { parseOptions } from './request-options.ts';

/** Looking after tasks: list, one, cancel. */
export function addTaskRoutes(
  router: Router,
  tasks: TaskService,
  storage: Storage,
  keysAreOn: boolean,
  log: Logger,
): void {
  const list: RequestHandler = async (request, response) => {
    if (!keysAreOn && !isLoopback(request)) {
      throw new AppError('FORBIDDEN', 'Without API keys the list of tasks is for callers on this machine only.');
    }
    const { state, queue, limit, cursor } = parseOptions(ListParameters, request.query);
    sendData(response, 200, await tasks.list({ owner: request.owner, state, queue, limit, cursor }));
  };

  const get: RequestHandler<{ id: string }> = async (request, response) => {
    response.set('Cache-Control', 'no-store');
    sendData(response, 200, await tasks.get(request.params.id, request.owner));
  };

  const cancel: RequestHandler<{ id: string }> = async (request, response) => {
    const { files } = await tasks.cancel(request.params.id, request.owner);
    const [original] = files;
    if (original !== undefined) await removeSoon(storage.removeAll(original), log);
    sendData(response, 200, { task_id: request.params.id, state: 'REVOKED' }, 'The task is cancelled.');
  };

  addRoute(router, '/tasks', { get: list });
  addRoute(router, '/task/:id', { get: get as RequestHandler, delete: cancel as RequestHandler });
}

/** The same routes where there are no tasks to look after. */
export function addSyncTaskRoutes(router: Router): void {
  const notFound: RequestHandler = () => {
    throw new AppError('TASK_NOT_FOUND', 'In sync mode the answer to the upload is the result; there are no tasks.');
  };
  const notHere: RequestHandler = () => {
    throw new AppError('NOT_IN_SYNC_MODE', 'In sync mode the answer to the upload is the result; there are no tasks.');
  };
  addRoute(router, '/tasks', { get: notHere });
  addRoute(router, '/task/:id', { get: notFound, delete: notFound });
  addRoute(router, '/task/:id/events', { get: notHere });
}
