import { createHash } from 'node:crypto';

/** BullMQ's prefix; the braces keep every key in one slot of a Redis Cluster. */
export const PREFIX = '{recognize}';

const key = (...parts: (string | number)[]) => [PREFIX, ...parts].join(':');

/** Every Redis key and channel of ours; BullMQ makes its own under the same prefix. */
export const KEYS = {
  job: (queue: string, taskId: string) => key(queue, taskId),
  prioritized: (queue: string) => key(queue, 'prioritized'),
  active: (queue: string) => key(queue, 'active'),
  delayed: (queue: string) => key(queue, 'delayed'),
  waiting: (queue: string) => key(queue, 'wait'),
  completed: (queue: string) => key(queue, 'completed'),
  failed: (queue: string) => key(queue, 'failed'),
  meta: (queue: string) => key(queue, 'meta'),
  /** BullMQ's stream of what happens to jobs. */
  events: (queue: string) => key(queue, 'events'),
  /** Jobs that are active and whose lock has not been renewed since the last look. */
  stalled: (queue: string) => key(queue, 'stalled'),
  /** What an idle worker waits for. */
  marker: (queue: string) => key(queue, 'marker'),
  lock: (queue: string, taskId: string) => key(queue, taskId, 'lock'),
  /** Record of a cancelled task; where it is, the task is REVOKED whatever its job says. */
  revoked: (taskId: string) => key('revoked', taskId),
  /** Sorted set of {@link taskMember}s by creation time in ms; of all tasks, or of one API key's. */
  index: (owner: string | null) => (owner === null ? key('index') : key('index', 'of', owner)),
  /** Which task a stored file belongs to: its {@link taskMember}. */
  file: (base: string) => key('file', base),
  idempotency: (owner: string | null, idempotencyKey: string) =>
    key(
      'idempotency',
      createHash('sha256')
        .update(`${owner ?? ''}\n${idempotencyKey}`)
        .digest('hex'),
    ),
  rateLimit: () => key('rate'),
  /** Sorted set of worker names by last heartbeat in ms. */
  workers: () => key('workers'),
  worker: (name: string) => key('worker', name),
  /** There as long as the worker process with this id lives. */
  alive: (workerId: string) => key('alive', workerId),
  workerLease: (kind: string, number: number) => key('lease', kind, number),
  /** Hash of counters that outlive the worker which counted. */
  statistics: (queue: string) => key('statistics', queue),
  /** Hash of what a queue's workers counted in one minute (since 1970). */
  history: (queue: string, minute: number) => key('history', queue, minute),
  /** Stream of what operators did. */
  audit: () => key('audit'),
  /** A worker's answer to an order. */
  orderReply: (orderId: string) => key('order', orderId),
  /** Never there: removing it tells whether Redis takes writes. */
  writeProbe: () => key('probe'),
  sweepLease: () => key('lease', 'sweep'),
  fileSweepLease: () => key('lease', 'sweep', 'files'),
  /** Hash of the encryption keys in use: by id when last, and a fingerprint. */
  encryptionKeys: () => key('encryption', 'keys'),
} as const;

/** How the indexes of tasks and files name a task. */
export const taskMember = (queue: string, taskId: string) => `${queue}:${taskId}`;

/** Reads {@link taskMember} back; empty texts for what is none. */
export function readTaskMember(member: string): { queue: string; taskId: string } {
  const [queue = '', taskId = ''] = member.split(':');
  return { queue, taskId };
}

export const CHANNELS = {
  /** A task id: whoever runs it stops. */
  cancel: key('channel', 'cancel'),
  /** A task id: it has just ended. */
  ended: key('channel', 'ended'),
  /** An order to one worker. */
  orders: key('channel', 'orders'),
} as const;
