import { z } from 'zod';
import type { ErrorCode } from '../errors.ts';
import {
  ActionOutcome,
  AuditList,
  BulkOutcome,
  History,
  LogTail,
  Me,
  Overview,
  TaskDetail,
  TaskPage,
  WorkerDetail,
  WorkerList,
} from './admin.ts';
import {
  AuditParameters,
  CleanOrder,
  ConcurrencyOrder,
  LogParameters,
  NoParameters,
  OverviewParameters,
  PriorityOrder,
  RetryOrder,
  TaskSearch,
} from './admin-requests.ts';
import { describeApi } from './openapi.ts';
import type { Content, RouteDescription } from './routes.ts';

const TAGS = {
  Overview: 'How the service stands and stood.',
  Workers: 'Look at workers and steer them.',
  Queues: 'Hold queues and clean them up.',
  Tasks: 'Find tasks and act on them.',
  Log: 'What operators did.',
};

type Short = Pick<RouteDescription, 'method' | 'path' | 'operationId' | 'summary'> & {
  tag: keyof typeof TAGS;
  access?: 'viewer' | 'admin';
  query?: z.ZodObject;
  body?: z.ZodType;
  data?: z.ZodType;
  content?: Content;
  errors?: readonly ErrorCode[];
};

const PARAMETERS: Record<string, string> = {
  id: 'Id of the task.',
  name: 'Name of the worker.',
  queue: 'Name of the queue.',
  role: '`original`, `annotated` or `detections`.',
};

function describe({
  access = 'viewer',
  data,
  content,
  errors = [],
  query = NoParameters,
  ...route
}: Short): RouteDescription {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, PARAMETERS[name] ?? ''] as const);
  return {
    ...route,
    access,
    query,
    ...(inPath.length === 0 ? {} : { pathParameters: Object.fromEntries(inPath) }),
    answers: [{ status: 200, description: 'Done.', content: content ?? { data: data ?? z.unknown() } }],
    errors: [
      'INVALID_OPTION',
      ...(route.body === undefined ? [] : (['BAD_REQUEST'] as const)),
      'QUEUE_UNAVAILABLE',
      ...errors,
    ],
  };
}

const worker = (verb: 'drain' | 'resume' | 'restart', summary: string): Short => ({
  method: 'post',
  path: `/api/admin/workers/{name}/${verb}`,
  operationId: `${verb}_worker`,
  tag: 'Workers',
  summary,
  access: 'admin',
  data: ActionOutcome,
  errors: ['NOT_FOUND'],
});

const queue = (verb: 'pause' | 'resume' | 'lift-limits', operationId: string, summary: string): Short => ({
  method: 'post',
  path: `/api/admin/queues/{queue}/${verb}`,
  operationId,
  tag: 'Queues',
  summary,
  access: 'admin',
  data: ActionOutcome,
  errors: ['NOT_FOUND'],
});

/** Every route of the admin API; the dashboard has a handler for each `operationId`. */
export const ADMIN_ROUTES = (
  [
    {
      method: 'get',
      path: '/api/admin/me',
      operationId: 'who_am_i',
      tag: 'Overview',
      summary: 'See who is logged in',
      data: Me,
    },
    {
      method: 'get',
      path: '/api/admin/overview',
      operationId: 'overview',
      tag: 'Overview',
      summary: 'See how the service stands',
      query: OverviewParameters,
      data: Overview,
    },
    {
      method: 'get',
      path: '/api/admin/history',
      operationId: 'history',
      tag: 'Overview',
      summary: 'See the last 24 hours in steps',
      data: History,
    },
    {
      method: 'get',
      path: '/api/admin/workers',
      operationId: 'list_workers',
      tag: 'Workers',
      summary: 'List the workers, lost ones for an hour',
      data: WorkerList,
    },
    {
      method: 'get',
      path: '/api/admin/workers/{name}',
      operationId: 'get_worker',
      tag: 'Workers',
      summary: 'See a worker and its recent tasks',
      data: WorkerDetail,
      errors: ['NOT_FOUND'],
    },
    {
      method: 'get',
      path: '/api/admin/workers/{name}/log',
      operationId: 'get_worker_log',
      tag: 'Workers',
      summary: "See the last lines of a worker's log",
      query: LogParameters,
      data: LogTail,
      errors: ['NOT_FOUND'],
    },
    worker('drain', 'Have a worker finish what it runs and take no more'),
    worker('resume', 'Have a drained worker take tasks again'),
    worker('restart', 'Have a worker end and be started anew'),
    {
      method: 'post',
      path: '/api/admin/workers/{name}/concurrency',
      operationId: 'resize_worker',
      tag: 'Workers',
      summary: 'Change how many tasks a worker runs at a time, until it is started anew',
      access: 'admin',
      body: ConcurrencyOrder,
      data: ActionOutcome,
      errors: ['NOT_FOUND'],
    },
    queue('pause', 'pause_queue', 'Have no worker take tasks of a queue; what runs goes on'),
    queue('resume', 'resume_queue', 'Have tasks of a queue taken again'),
    queue('lift-limits', 'lift_queue_limits', 'Take away the global concurrency and the rate limit of a queue'),
    {
      method: 'post',
      path: '/api/admin/queues/{queue}/clean',
      operationId: 'clean_queue',
      tag: 'Queues',
      summary: 'Remove tasks that ended some time ago',
      access: 'admin',
      body: CleanOrder,
      data: BulkOutcome,
      errors: ['NOT_FOUND'],
    },
    {
      method: 'get',
      path: '/api/admin/tasks',
      operationId: 'search_tasks',
      tag: 'Tasks',
      summary: 'Search tasks of all queues',
      query: TaskSearch,
      data: TaskPage,
    },
    {
      method: 'post',
      path: '/api/admin/tasks/retry',
      operationId: 'retry_tasks',
      tag: 'Tasks',
      summary: 'Queue failed tasks again',
      access: 'admin',
      body: RetryOrder,
      data: BulkOutcome,
    },
    {
      method: 'get',
      path: '/api/admin/tasks/{id}',
      operationId: 'get_task_detail',
      tag: 'Tasks',
      summary: 'See all of a task',
      data: TaskDetail,
      errors: ['TASK_NOT_FOUND'],
    },
    {
      method: 'get',
      path: '/api/admin/tasks/{id}/files/{role}',
      operationId: 'get_task_file',
      tag: 'Tasks',
      summary: 'Get a file of a task',
      content: { types: ['image/*', 'video/*', 'application/json'] },
      errors: ['TASK_NOT_FOUND', 'NOT_FOUND'],
    },
    {
      method: 'post',
      path: '/api/admin/tasks/{id}/cancel',
      operationId: 'cancel_task',
      tag: 'Tasks',
      summary: 'Cancel a task that waits or runs',
      access: 'admin',
      data: ActionOutcome,
      errors: ['TASK_NOT_FOUND', 'TASK_FINISHED'],
    },
    {
      method: 'post',
      path: '/api/admin/tasks/{id}/retry',
      operationId: 'retry_task',
      tag: 'Tasks',
      summary: 'Queue a failed task again',
      access: 'admin',
      data: ActionOutcome,
      errors: ['TASK_NOT_FOUND', 'TASK_FINISHED'],
    },
    {
      method: 'post',
      path: '/api/admin/tasks/{id}/priority',
      operationId: 'change_priority',
      tag: 'Tasks',
      summary: 'Change the priority of a waiting task',
      access: 'admin',
      body: PriorityOrder,
      data: ActionOutcome,
      errors: ['TASK_NOT_FOUND', 'TASK_FINISHED'],
    },
    {
      method: 'get',
      path: '/api/admin/audit',
      operationId: 'list_actions',
      tag: 'Log',
      summary: 'List what operators did, the newest first',
      query: AuditParameters,
      data: AuditList,
    },
    {
      method: 'get',
      path: '/api/admin/openapi.json',
      operationId: 'admin_openapi',
      tag: 'Overview',
      summary: 'This description',
      content: { json: z.looseObject({ openapi: z.string() }) },
    },
  ] satisfies Short[]
).map(describe);

const INTRODUCTION = `What the pages of the dashboard show and do, as JSON. Log in by HTTP Basic where a login is needed.
Requests that change something are taken from the dashboard's own pages only; a program sends \`Origin\` with the
dashboard's own address, such as \`-H 'Origin: http://127.0.0.1:5555'\`. Actions answer \`{"applied", "message"}\`:
\`applied\` is false where the request has changed nothing, and the message says why: it was so already, or cannot be.
`;

/** The description of the admin API in OpenAPI 3.1. */
export function adminOpenApiDocument(): object {
  return describeApi({
    title: 'Recognize: admin API',
    introduction: INTRODUCTION,
    tags: TAGS,
    routes: ADMIN_ROUTES,
    securitySchemes: { login: { type: 'http', scheme: 'basic', description: 'An account of the dashboard.' } },
  });
}
