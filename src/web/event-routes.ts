import type { RequestHandler, Router } from 'express';
import { isFinished, type Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { TaskService } from '../queue/task-service.ts';
import { addRoute, clientGone } from './http.ts';

/** How often a running task is looked at; its end is announced and comes at once. */
const LOOK_EVERY_MS = 400;
const HEARTBEAT_MS = 15_000;

/** What a listener sees of a change. */
function fingerprint({ state, status, progress, position, attempts }: Task): string {
  return JSON.stringify([state, status, progress, position, attempts]);
}

/** `GET /api/task/:id/events`: the task as it goes on, as server-sent events. */
export function addEventRoutes(router: Router, tasks: TaskService, closing: AbortSignal): void {
  const events: RequestHandler<{ id: string }> = async (request, response) => {
    const { id } = request.params;
    const signal = AbortSignal.any([clientGone(response), closing]);
    let task = await tasks.get(id, request.owner);
    response.status(200).set({
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    if (request.method === 'HEAD') return void response.end();
    response.flushHeaders();
    const send = (event: string, data: unknown) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
    let seen = '';
    try {
      while (!signal.aborted && !isFinished(task.state)) {
        const now = fingerprint(task);
        if (now !== seen) send('progress', task);
        seen = now;
        task = await tasks.waitForEnd(id, request.owner, LOOK_EVERY_MS, signal);
      }
      if (isFinished(task.state)) send('done', task);
    } catch (error) {
      // The stream ends without `done`: the client's own reconnect asks again.
      if (!(error instanceof AppError)) throw error;
    } finally {
      clearInterval(heartbeat);
      response.end();
    }
  };
  addRoute(router, '/task/:id/events', { get: events as RequestHandler });
}
