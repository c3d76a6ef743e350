import { setTimeout as sleep } from 'node:timers/promises';
import express, { type Express, type Request, type RequestHandler, type Response } from 'express';
import type { Redis } from 'ioredis';
import packageJson from '../../package.json' with { type: 'json' };
import type { ActionOutcome } from '../contract/admin.ts';
import type {
  AuditParameters,
  CleanOrder,
  ConcurrencyOrder,
  LogParameters,
  OverviewParameters,
  PriorityOrder,
  TaskSearch,
} from '../contract/admin-requests.ts';
import { ADMIN_ROUTES, adminOpenApiDocument } from '../contract/admin-routes.ts';
import { successEnvelope } from '../contract/envelope.ts';
import { type Kind, kindOfQueue } from '../contract/kinds.ts';
import { AppError, StorageError } from '../errors.ts';
import { type NoteAction, readAudit } from '../queue/audit.ts';
import { type Heartbeat, isLost, knownWorkers } from '../queue/heartbeat.ts';
import type { HistoryReader } from '../queue/history-reader.ts';
import { createQueueActions, type QueueActions } from '../queue/queue-holds.ts';
import type { Queues } from '../queue/queues.ts';
import type { TaskActions } from '../queue/task-actions.ts';
import type { TaskLookup } from '../queue/task-lookup.ts';
import { searchTasks } from '../queue/task-search.ts';
import type { TaskService } from '../queue/task-service.ts';
import { giveOrder, type WorkerOrder } from '../queue/worker-orders.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { StorageWatch } from '../storage/storage-watch.ts';
import { parseRequest } from './admin-requests.ts';
import { type Attempted, auditActions } from './audited.ts';
import { readLogTail } from './log-tail.ts';
import { roleOf, userOf } from './login.ts';
import { isOutage } from './outage.ts';
import { readHistory, readOverview } from './overview.ts';
import { describeSelection, type RetrySelection, retrySelection } from './retry-selection.ts';
import { readTaskDetail } from './task-detail.ts';
import { type FileSource, sendTaskFile } from './task-files.ts';
import { viewWorker } from './worker-views.ts';

export type AdminSources = {
  redis: Redis;
  queues: Queues;
  history: HistoryReader;
  lookup: TaskLookup;
  tasks: Pick<TaskService, 'cancel'>;
  actions: TaskActions;
  files: FileSource;
  storage: StorageWatch;
  keyring: Keyring;
  logFolder: string;
  noteAction: NoteAction;
};

type Call = { request: Request; response: Response; query: unknown; body: unknown; who: string };
type Handler = (call: Call) => unknown;

const RECENT_TASKS = 15;

/** How long a cancel waits for the files of the task to be removed, in ms. */
const FILES_PATIENCE_MS = 500;

function parameter({ request }: Call, name: string): string {
  const value = request.params[name];
  return typeof value === 'string' ? value : '';
}

function queueOf(call: Call): { kind: Kind; queue: string } {
  const queue = parameter(call, 'queue');
  const kind = kindOfQueue(queue);
  if (kind === undefined) throw new AppError('NOT_FOUND', 'There is no such queue.');
  return { kind, queue };
}

/** A handler for each route of the admin API, by its `operationId`. */
function handlers(sources: AdminSources): Record<string, Handler> {
  const { redis, queues, history, lookup, tasks, actions } = sources;
  const audited = auditActions(redis, sources.noteAction);
  const queueActions = createQueueActions(redis, queues);

  async function findWorker(call: Call): Promise<Heartbeat> {
    const name = parameter(call, 'name');
    const found = (await knownWorkers(redis)).find((worker) => worker.name === name);
    if (found === undefined)
      throw new AppError('NOT_FOUND', 'There is no such worker, or it was lost more than an hour ago.');
    return found;
  }

  async function order(call: Call, wanted: WorkerOrder): Promise<Attempted<ActionOutcome>> {
    const worker = await findWorker(call);
    const silent = Math.round((Date.now() - worker.beat_at) / 1000);
    if (isLost(worker)) return { applied: false, message: `The worker is lost: it was last heard of ${silent} s ago.` };
    if (worker.id === '') return { applied: false, message: 'The worker is of an older version that takes no orders.' };
    const answer = await giveOrder(redis, worker.id, wanted, call.who);
    return (
      answer ?? {
        applied: false,
        uncertain: true,
        message: `The worker has not answered within two seconds (last heard of ${silent} s ago); it may be lost.`,
      }
    );
  }

  const steer = (action: string, wanted: (call: Call) => WorkerOrder): Handler => {
    return (call) => {
      const what = wanted(call);
      const name = what.do === 'resize' ? `${action} to ${what.concurrency}` : action;
      return audited(call.who, name, parameter(call, 'name'), () => order(call, what));
    };
  };

  const onQueue = (action: string, act: keyof QueueActions): Handler => {
    return (call) => {
      const { kind, queue } = queueOf(call);
      return audited(call.who, action, queue, () => queueActions[act](kind));
    };
  };

  async function cancel(taskId: string): Promise<ActionOutcome> {
    const { files, already } = await tasks.cancel(taskId, null);
    if (already) return { applied: false, message: 'The task was cancelled already.' };
    const [original] = files;
    // A store that hangs does not keep the operator; what is left there goes with its time.
    if (original !== undefined)
      await Promise.race([sources.files.removeAll(original).catch(() => undefined), sleep(FILES_PATIENCE_MS)]);
    return { applied: true, message: 'The task is cancelled.' };
  }

  return {
    who_am_i: ({ response, who }) => ({ name: who, role: roleOf(response), version: packageJson.version }),
    overview: ({ query }) =>
      readOverview(
        { redis, queues, history, storage: sources.storage },
        (query as ReturnType<typeof OverviewParameters.parse>).window,
      ),
    history: () => readHistory(history),
    list_workers: async () => ({ workers: (await knownWorkers(redis)).map(viewWorker) }),
    async get_worker(call) {
      const worker = viewWorker(await findWorker(call));
      const { tasks: recent, searched } = await searchTasks(redis, lookup, {
        worker: worker.name,
        limit: RECENT_TASKS,
      });
      return { worker, recent, searched };
    },
    async get_worker_log(call) {
      const { name } = await findWorker(call);
      const { lines } = call.query as ReturnType<typeof LogParameters.parse>;
      return readLogTail(sources.logFolder, name, lines, roleOf(call.response));
    },
    drain_worker: steer('drain worker', () => ({ do: 'drain' })),
    resume_worker: steer('resume worker', () => ({ do: 'resume' })),
    restart_worker: steer('restart worker', () => ({ do: 'restart' })),
    resize_worker: steer('change concurrency', ({ body }) => ({
      do: 'resize',
      concurrency: (body as ReturnType<typeof ConcurrencyOrder.parse>).concurrency,
    })),
    pause_queue: onQueue('pause queue', 'pause'),
    resume_queue: onQueue('resume queue', 'resume'),
    lift_queue_limits: onQueue('lift limits', 'liftLimits'),
    clean_queue(call) {
      const { kind, queue } = queueOf(call);
      const { state, older_than_s } = call.body as ReturnType<typeof CleanOrder.parse>;
      return audited(call.who, 'clean queue', `${queue} ${state} older than ${older_than_s} s`, () =>
        actions.clean(kind, state, older_than_s),
      );
    },
    search_tasks: ({ query }) => searchTasks(redis, lookup, query as TaskSearch),
    retry_tasks(call) {
      const selection = call.body as RetrySelection;
      return audited(call.who, 'retry tasks', describeSelection(selection), () => retrySelection(actions, selection));
    },
    get_task_detail: (call) => readTaskDetail(sources, parameter(call, 'id'), roleOf(call.response)),
    get_task_file: (call) =>
      sendTaskFile(sources, parameter(call, 'id'), parameter(call, 'role'), call.request, call.response),
    cancel_task: (call) => audited(call.who, 'cancel task', parameter(call, 'id'), () => cancel(parameter(call, 'id'))),
    retry_task: (call) =>
      audited(call.who, 'retry task', parameter(call, 'id'), () => actions.retry(parameter(call, 'id'))),
    change_priority(call) {
      const { priority } = call.body as ReturnType<typeof PriorityOrder.parse>;
      const id = parameter(call, 'id');
      return audited(call.who, `priority ${priority}`, id, () => actions.changePriority(id, priority));
    },
    async list_actions({ query }) {
      const { limit, before } = query as ReturnType<typeof AuditParameters.parse>;
      const entries = await readAudit(redis, limit, before);
      return {
        entries: entries.map((entry) => ({ ...entry, at: new Date(Number(entry.id.split('-')[0])).toISOString() })),
        next_before: entries.length === limit ? (entries.at(-1)?.id ?? null) : null,
      };
    },
    admin_openapi: ({ response }) => void response.json(adminOpenApiDocument()),
  };
}

const requireAdmin: RequestHandler = (_request, response, next) => {
  if (roleOf(response) !== 'admin') throw new AppError('FORBIDDEN', 'Viewers may look, not change anything.');
  next();
};

/** Faults of Redis or BullMQ: nothing else is left once the request has been understood. */
async function orUnavailable(redis: Redis, work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError || error instanceof StorageError) throw error;
    if (!isOutage(error, redis)) throw error;
    throw new AppError('QUEUE_UNAVAILABLE', 'Redis does not answer at the moment. Try again shortly.', {
      retryAfterSeconds: 5,
      cause: error,
    });
  }
}

/** `/api/admin`: every route of the table, behind the login that the app has put before it. */
export function addAdminApi(app: Express, sources: AdminSources): void {
  const byOperation = handlers(sources);
  app.use('/api/admin', express.json({ limit: '64kb' }));
  const methods = new Map<string, string[]>();
  for (const { method, path, operationId, access, query, body } of ADMIN_ROUTES) {
    const handler = byOperation[operationId];
    if (handler === undefined) throw new Error(`There is no handler for ${operationId}.`);
    const pattern = path.replace(/\{(\w+)\}/g, ':$1');
    methods.set(pattern, [...(methods.get(pattern) ?? []), method.toUpperCase()]);
    const answer: RequestHandler = async (request, response) => {
      const call: Call = {
        request,
        response,
        query: query === undefined ? {} : parseRequest(query, request.query),
        body: body === undefined ? undefined : parseRequest(body, request.body ?? {}),
        who: userOf(response),
      };
      const data = await orUnavailable(sources.redis, () => handler(call));
      if (!response.headersSent && !response.destroyed) response.json(successEnvelope(data ?? {}));
    };
    app[method](pattern, ...(access === 'admin' ? [requireAdmin] : []), answer);
  }
  for (const [pattern, allowed] of methods) {
    app.all(pattern, (request, response) => {
      response.set('Allow', allowed.join(', '));
      throw new AppError('METHOD_NOT_ALLOWED', `${request.method} is not possible here, only ${allowed.join(', ')}.`);
    });
  }
  app.use('/api/admin', () => {
    throw new AppError('NOT_FOUND', 'There is nothing at this address.');
  });
}
