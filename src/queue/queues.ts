import { Queue, type Telemetry } from 'bullmq';
import type { Redis } from 'ioredis';
import { KIND_NAMES, KINDS, type Kind } from '../contract/kinds.ts';
import { type Keyring, NO_KEYS } from '../sealing/keyring.ts';
import { MOST_EVENTS } from './event-stream.ts';
import { PREFIX } from './keys.ts';
import { noteQueuedAgain } from './queued-again.ts';
import { sealingBackend } from './sealed-jobs.ts';

export type Queues = Record<Kind, Queue>;

/** Attempts of a task that failed for a reason that may pass. */
export const ATTEMPTS = 3;

/** Delay before a further attempt: 1 to 2 s, then 2 to 4 s. */
export const BACKOFF = { type: 'exponential', delay: 2000, jitter: 0.5 } as const;

/** Lock times in ms: a killed worker's task is taken up again after 10 to 20 s. */
export const LOCK_DURATION_MS = 15_000;
export const LOCK_RENEWAL_MS = 5_000;
export const STALLED_INTERVAL_MS = 5_000;

/** How often a detection process or a worker may die under a task before the task is given up. */
export const MAX_LOSSES = 1;

/** A task that is started so often and never ends meets a fault that no further start mends. */
export const MAX_STARTS = 50;

/** The producers' side of every queue, all on one connection. */
export function openQueues(connection: Redis, keyring: Keyring = NO_KEYS, telemetry?: Telemetry): Queues {
  const open = (kind: Kind) => {
    const options = {
      connection,
      prefix: PREFIX,
      ...(telemetry === undefined ? {} : { telemetry }),
      // Without these two a queue made while Redis is away would stay broken for ever.
      skipWaitingForReady: true,
      skipVersionCheck: true,
      streams: { events: { maxLen: MOST_EVENTS } },
      // Stack traces belong into logs, not into every job.
      defaultJobOptions: { attempts: ATTEMPTS, backoff: BACKOFF, stackTraceLimit: 0 },
    };
    const name = KINDS[kind].queue;
    const queue: Queue = new Queue(name, options, noteQueuedAgain(connection, name, sealingBackend(keyring)));
    // The connection reports its own faults; without a listener the queue's echo would end the process.
    queue.on('error', () => undefined);
    return queue;
  };
  return Object.fromEntries(KIND_NAMES.map((kind) => [kind, open(kind)])) as Queues;
}
