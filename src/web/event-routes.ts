import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestHandler, Router } from 'express';
import { isFinished, type Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { TaskService } from '../queue/task-service.ts';
import { addRoute, clientGone } from './http.ts';

/** How often a running task is looked at; its end is announced and comes at once. */
const LOOK_EVERY_MS = 400;
const HEARTBEAT_MS = 15_000;
/** How long a listener waits for Redis before the task is looked at again. */
const OUTAGE_PAUSE_MS = 1000;

const isOutage = (error: unknown) => error instanceof AppError && error.code === 'QUEUE_UNAVAILABLE';

/** What a listener sees of a change. */
function fingerprint({ state, status, progress, position, attempts }: Task): string {
  return JSON.stringify([state, status, progress, position, attempts]);
}

/** `GET /api/task/:id/events`: the task as it goes on, as server-sent events. */
export function addEventRoutes(router: Router, tasks: TaskService, closing: AbortSignal): void {
  /** The task when it has ended, or after a while; during an outage of Redis as it was last seen. */
  async function next(task: Task, owner: string | null, signal: AbortSignal): Promise<Task> {
    try {
      return await tasks.waitForEnd(task.task_id, owner, LOOK_EVERY_MS, signal);
    } catch (error) {
      if (!isOutage(error)) throw error;
      await sleep(OUTAGE_PAUSE_MS, undefined, { signal }).catch(() => undefined);
      return task;
    }
  }

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
        task = await next(task, request.owner, signal);
      }
      if (isFinished(task.state)) send('done', task);
    } catch (error) {
      // A task that is gone, or that cannot be read, has no end that could be told.
      if (!(error instanceof AppError)) throw error;
    } finally {
      clearInterval(heartbeat);
      response.end();
    }
  };
  addRoute(router, '/task/:id/events', { get: events as RequestHandler });
}
