import { z } from 'zod';
import type { ErrorCode } from '../errors.ts';
import { CancelledTask, Live, ModelList, QueuedTask, Ready, ScalingView, SyncResult, TaskList } from './answers.ts';
import { ErrorEnvelope } from './envelope.ts';
import { Health } from './health.ts';
import { KIND_NAMES, KINDS, type Kind, MEDIA, type Media } from './kinds.ts';
import { ListParameters } from './list-parameters.ts';
import { ImageOptions, VideoOptions, WAIT_LIMIT_SECONDS, WaitParameter } from './options.ts';
import { Task } from './task.ts';

export const TAGS = {
  Detection: 'Upload a file, get a task or its result.',
  Tasks: 'Look after tasks: poll, listen, list, cancel.',
  Files: 'Originals and copies with the boxes drawn in.',
  Service: 'How the service stands and what it can do.',
} as const;

/** What an answer carries: data in the envelope, bare JSON, or something else of these media types. */
export type Content = { data: z.ZodType } | { json: z.ZodType } | { types: readonly string[] };

export type Answer = {
  status: number;
  description: string;
  content: Content;
  /** Name and meaning. */
  headers?: Record<string, string>;
};

export type RouteDescription = {
  method: 'get' | 'post' | 'delete';
  /** With parameters in braces. */
  path: string;
  operationId: string;
  tag: string;
  summary: string;
  description?: string;
  /**
   * `key`: an API key where keys are configured; `metrics`: this machine or METRICS_TOKEN; `viewer`, `admin`: an
   * operator of that role where a login is needed.
   */
  access: 'open' | 'key' | 'metrics' | 'viewer' | 'admin';
  /** Path parameters by name. */
  pathParameters?: Record<string, string>;
  query?: z.ZodObject;
  /** Request headers: name and meaning. */
  headers?: Record<string, string>;
  /** Fields of a multipart form besides `file`. */
  form?: z.ZodObject;
  /** JSON body. */
  body?: z.ZodType;
  answers: readonly Answer[];
  /** Those that this route adds to what its access and its path parameters bring. */
  errors: readonly ErrorCode[];
};

/** Pages for people; not part of the description. */
export const PAGES = ['/', '/docs'] as const;

const OPTIONS: Record<Media, z.ZodObject> = { image: ImageOptions, video: VideoOptions };

const WAIT_NOTE = `Seconds to wait for the end of the task before answering, at most ${WAIT_LIMIT_SECONDS}; the same as \`Prefer: wait=<seconds>\`.`;

const FILE_TYPES = ['image/*', 'video/*', 'application/json', 'application/x-ndjson'];

const TASK_ID = { id: 'Id of the task.' };

function detection(kind: Kind, media: Media): RouteDescription {
  const { noun, queue } = KINDS[kind];
  const asked = OPTIONS[media].extend({ wait: WaitParameter.optional().meta({ description: WAIT_NOTE }) });
  return {
    method: 'post',
    path: `/api/detect/${kind}/${media}`,
    operationId: `detect_${kind}_${media}`,
    tag: 'Detection',
    summary: `Find ${noun}s in ${media === 'image' ? 'a picture' : `a ${media}`}`,
    description: [
      `The file goes to the queue \`${queue}\`; poll the task or listen to its events for the result.`,
      'Options may be sent as form fields or as query parameters; sent as both, they must say the same.',
    ].join(' '),
    access: 'key',
    query: asked,
    headers: {
      Prefer: '`wait=<seconds>`: wait for the end of the task before answering.',
      'Idempotency-Key':
        'Up to 255 printable characters; a repeated request under the same key gets the task of the first.',
    },
    form: asked,
    answers: [
      {
        status: 202,
        description: 'The task is queued.',
        content: { data: QueuedTask },
        headers: { Location: 'Where to poll the task.' },
      },
      {
        status: 200,
        description: 'The task, where it ended within the time to wait; in sync mode the result itself.',
        content: { data: z.union([Task, SyncResult]) },
        headers: { Location: 'Where to poll the task.', 'Preference-Applied': 'The time to wait that was heeded.' },
      },
    ],
    errors: [
      'NO_FILE',
      'INVALID_OPTION',
      'BAD_REQUEST',
      'FILE_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'UNREADABLE_MEDIA',
      'IDEMPOTENCY_MISMATCH',
      'RATE_LIMITED',
      'MODEL_UNAVAILABLE',
      'QUEUE_UNAVAILABLE',
      'QUEUE_FULL',
      'WORKER_LOST',
      'TIMEOUT',
    ],
  };
}

const TASK_ROUTES: RouteDescription[] = [
  {
    method: 'get',
    path: '/api/task/{id}',
    operationId: 'get_task',
    tag: 'Tasks',
    summary: 'See how a task stands',
    description: 'A task is kept for RESULT_TTL after its end.',
    access: 'key',
    pathParameters: TASK_ID,
    answers: [{ status: 200, description: 'The task.', content: { data: Task } }],
    errors: ['TASK_NOT_FOUND', 'QUEUE_UNAVAILABLE'],
  },
  {
    method: 'delete',
    path: '/api/task/{id}',
    operationId: 'cancel_task',
    tag: 'Tasks',
    summary: 'Cancel a task',
    description: 'A waiting task is gone at once, a running one within two seconds.',
    access: 'key',
    pathParameters: TASK_ID,
    answers: [{ status: 200, description: 'The task is cancelled, now or before.', content: { data: CancelledTask } }],
    errors: ['TASK_NOT_FOUND', 'TASK_FINISHED', 'QUEUE_UNAVAILABLE'],
  },
  {
    method: 'get',
    path: '/api/task/{id}/events',
    operationId: 'follow_task',
    tag: 'Tasks',
    summary: 'Follow a task',
    description:
      'Server-sent events: `progress` with the task whenever it changes, at last `done`, then the stream ends. A new connection gets the present state first.',
    access: 'key',
    pathParameters: TASK_ID,
    answers: [{ status: 200, description: 'The events.', content: { types: ['text/event-stream'] } }],
    errors: ['TASK_NOT_FOUND', 'NOT_IN_SYNC_MODE', 'QUEUE_UNAVAILABLE'],
  },
  {
    method: 'get',
    path: '/api/tasks',
    operationId: 'list_tasks',
    tag: 'Tasks',
    summary: 'List tasks, the newest first',
    description: "With API keys each sees its own tasks; without, only callers on the service's own machine see any.",
    access: 'key',
    query: ListParameters,
    answers: [{ status: 200, description: 'A page of tasks.', content: { data: TaskList } }],
    errors: ['INVALID_OPTION', 'FORBIDDEN', 'NOT_IN_SYNC_MODE', 'QUEUE_UNAVAILABLE'],
  },
];

const FILE_ROUTES: RouteDescription[] = [
  {
    method: 'get',
    path: '/api/uploads/{name}',
    operationId: 'get_file',
    tag: 'Files',
    summary: 'Get an original, an annotated copy or the detections of a video',
    description: 'By the URLs that results give. An annotated picture may be drawn when it is first asked for.',
    access: 'open',
    pathParameters: { name: 'Name of the file as a result gives it.' },
    headers: { Range: '`bytes=<first>-<last>`: a part of the file.' },
    answers: [
      { status: 200, description: 'The file.', content: { types: FILE_TYPES } },
      { status: 206, description: 'The part that was asked for.', content: { types: FILE_TYPES } },
      { status: 416, description: 'The file has no bytes in this range.', content: { json: ErrorEnvelope } },
    ],
    errors: ['NOT_FOUND', 'UNREADABLE_MEDIA', 'TIMEOUT', 'QUEUE_UNAVAILABLE'],
  },
];

const SERVICE_ROUTES: RouteDescription[] = [
  {
    method: 'get',
    path: '/api/models',
    operationId: 'list_models',
    tag: 'Service',
    summary: 'List the models that are ready',
    access: 'key',
    answers: [{ status: 200, description: 'The models.', content: { data: ModelList } }],
    errors: [],
  },
  {
    method: 'get',
    path: '/api/health',
    operationId: 'health',
    tag: 'Service',
    summary: 'See how the service stands',
    access: 'open',
    answers: [
      { status: 200, description: 'It works, in whole or in part.', content: { data: Health } },
      { status: 503, description: 'It is down: there is no Redis.', content: { data: Health } },
    ],
    errors: [],
  },
  {
    method: 'get',
    path: '/api/health/live',
    operationId: 'live',
    tag: 'Service',
    summary: 'Whether the process answers at all',
    access: 'open',
    answers: [{ status: 200, description: 'It does.', content: { data: Live } }],
    errors: [],
  },
  {
    method: 'get',
    path: '/api/health/ready',
    operationId: 'ready',
    tag: 'Service',
    summary: 'Whether the process can take requests',
    access: 'open',
    answers: [{ status: 200, description: 'It can.', content: { data: Ready } }],
    errors: ['QUEUE_UNAVAILABLE', 'MODEL_UNAVAILABLE'],
  },
  {
    method: 'get',
    path: '/api/openapi.json',
    operationId: 'openapi',
    tag: 'Service',
    summary: 'This description',
    access: 'open',
    answers: [{ status: 200, description: 'OpenAPI 3.1.', content: { json: z.looseObject({ openapi: z.string() }) } }],
    errors: [],
  },
  {
    method: 'get',
    path: '/metrics',
    operationId: 'metrics',
    tag: 'Service',
    summary: 'Metrics for Prometheus',
    access: 'metrics',
    answers: [{ status: 200, description: "Prometheus' text format.", content: { types: ['text/plain'] } }],
    errors: [],
  },
  {
    method: 'get',
    path: '/metrics/scaling',
    operationId: 'scaling',
    tag: 'Service',
    summary: 'Load of the queues, for autoscalers',
    access: 'metrics',
    answers: [{ status: 200, description: 'Depth and age of every queue.', content: { json: ScalingView } }],
    errors: ['QUEUE_UNAVAILABLE'],
  },
];

/** Every route of the web process that programs use. */
export const ROUTES: readonly RouteDescription[] = [
  ...KIND_NAMES.flatMap((kind) => MEDIA.map((media) => detection(kind, media))),
  ...TASK_ROUTES,
  ...FILE_ROUTES,
  ...SERVICE_ROUTES,
];
