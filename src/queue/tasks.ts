import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { KIND_NAMES, KINDS, type Kind } from '../contract/kinds.ts';
import { isFinished, type Task, type TaskState } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { parseName } from '../storage/names.ts';
import { announceEnd } from './cancellations.ts';
import type { EndedListener } from './ended.ts';
import { queueUnavailable, taskNotFound } from './failure.ts';
import { CHANNELS, KEYS, readTaskMember } from './keys.ts';
import type { Queues } from './queues.ts';
import { countRevoked } from './statistics.ts';
import { listTasks } from './task-list.ts';
import { type Found, lookUpTasks, ownerOf, revokedRecord } from './task-lookup.ts';
import type { Submission, Submitted, TaskService } from './task-service.ts';
import { submitTasks } from './task-submission.ts';
import { hasEnded, readJobData, revokedTask } from './task-view.ts';

type Settings = { resultTtlSeconds: number; maxQueueLength: number; keyring: Keyring };

/** A record of a cancelled task outlives its job by this much, so that the job never shows through. */
const REVOKED_MARGIN_SECONDS = 120;

/** How long a cancel waits for the running detection to be gone before it answers all the same, in ms. */
const CANCEL_WAIT_MS = 1900;

/** Writes the record of a cancelled task unless the task has ended. Returns set, ended, exists or missing. */
const REVOKE_SCRIPT = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 'exists' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
if redis.call('HEXISTS', KEYS[1], 'finishedOn') == 1 then return 'ended' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 'set'`;

const alreadyEnded = (state: TaskState) => new AppError('TASK_FINISHED', `The task has already ended (${state}).`);

/** @throws AppError INTERNAL where the task has a result that cannot be read */
function readable({ task, unreadable }: Found): Task {
  if (unreadable !== undefined && task.state === 'SUCCESS' && task.result === undefined) throw unreadable;
  return task;
}

/** Turns a fault of the connection into the contract's answer; the service's own errors pass. */
async function orUnavailable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof AppError ? error : queueUnavailable(error);
  }
}

/**
 * Tasks kept by BullMQ in Redis. The connection must fail fast: every method answers within about two seconds.
 */
export function createTaskService(
  redis: Redis,
  queues: Queues,
  ended: EndedListener,
  settings: Settings,
  log: Logger,
): TaskService {
  const lookup = lookUpTasks(redis, queues, settings.resultTtlSeconds, settings.keyring);
  const entering = Object.fromEntries(KIND_NAMES.map((kind) => [kind, 0])) as Record<Kind, number>;
  const submit = submitTasks(redis, queues, lookup, settings.resultTtlSeconds);

  async function get(taskId: string, owner: string | null, kind?: Kind): Promise<Task> {
    const found = await lookup.load(taskId, owner, kind);
    if (found === undefined) throw taskNotFound();
    return found.task;
  }

  /** A task that ended well without anybody here being able to read how is an error, not a result. */
  async function getReadable(taskId: string, owner: string | null): Promise<Task> {
    const found = await lookup.load(taskId, owner);
    if (found === undefined) throw taskNotFound();
    return readable(found);
  }

  /** @param ahead tasks that may be on their way into the queue */
  async function checkCapacity(kind: Kind, ahead = 0): Promise<void> {
    if (redis.status !== 'ready') throw new Error('not connected');
    if (settings.maxQueueLength === 0) return;
    const counts = await queues[kind].getJobCounts('waiting', 'prioritized', 'delayed');
    const length = Object.values(counts).reduce((sum, count) => sum + count, 0);
    if (length + ahead >= settings.maxQueueLength) {
      throw new AppError('QUEUE_FULL', 'Too many tasks are waiting at the moment. Try again later.', {
        retryAfterSeconds: 10,
      });
    }
  }

  /** Looks at the queue once more: many may have been admitted to upload while there was room for one. */
  async function submitWhereRoom(submission: Submission): Promise<Submitted> {
    const { kind } = submission;
    const ahead = entering[kind]++;
    try {
      return await submit(submission, () => checkCapacity(kind, ahead));
    } finally {
      entering[kind]--;
    }
  }

  /** Tells the worker that runs the task to stop and waits for it; true when the task has left its worker. */
  async function stopRunning(taskId: string, kind: Kind): Promise<boolean> {
    const until = Date.now() + CANCEL_WAIT_MS;
    await redis.publish(CHANNELS.cancel, taskId);
    while (Date.now() < until) {
      const job = await queues[kind].getJob(taskId);
      if (job === undefined || hasEnded(job)) return true;
      if ((await job.getState()) !== 'active') return (await queues[kind].remove(taskId)) === 1;
      await sleep(50);
    }
    return false;
  }

  /** Files that are about to be removed belong to no task any more. */
  async function forgetFiles(names: readonly string[]): Promise<void> {
    const bases = new Set(names.flatMap((name) => parseName(name)?.base ?? []));
    if (bases.size > 0) await redis.del(...[...bases].map((base) => KEYS.file(base)));
  }

  async function cancel(taskId: string, owner: string | null): Promise<{ files: string[]; already: boolean }> {
    const found = await lookup.load(taskId, owner);
    if (found === undefined) throw taskNotFound();
    const { task, stored } = found;
    if (task.state === 'REVOKED') return { files: [], already: true };
    if (isFinished(task.state) || stored === undefined) throw alreadyEnded(task.state);
    const { kind, job } = stored;
    const outcome = await redis.eval(
      REVOKE_SCRIPT,
      2,
      KEYS.job(job.queueName, taskId),
      KEYS.revoked(taskId),
      revokedRecord(settings.keyring, ownerOf(job), revokedTask(task, new Date())),
      settings.resultTtlSeconds + REVOKED_MARGIN_SECONDS,
    );
    if (outcome === 'missing') throw taskNotFound();
    if (outcome === 'ended') throw alreadyEnded((await get(taskId, owner)).state);
    const data = readJobData(job);
    const files = data === undefined ? [] : [data.file.name, ...(data.annotated === null ? [] : [data.annotated])];
    if ((await queues[kind].remove(taskId)) === 1) {
      await Promise.all([announceEnd(redis, taskId), countRevoked(redis, KINDS[kind].queue), forgetFiles(files)]);
      return { files, already: false };
    }
    const stopped = await stopRunning(taskId, kind);
    log.info({ taskId, stopped }, 'task cancelled while it ran');
    if (stopped) await forgetFiles(files);
    return { files: stopped ? files : [], already: false };
  }

  /** Waits for the announcement of the task's end, for so many ms at most. */
  function untilEnded(taskId: string, limitMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', settle);
        giveUp?.();
        resolve();
      };
      const timer = setTimeout(settle, limitMs);
      signal.addEventListener('abort', settle);
      let giveUp: (() => void) | undefined;
      giveUp = ended.once(taskId, settle);
    });
  }

  async function waitForEnd(
    taskId: string,
    owner: string | null,
    waitMs: number,
    signal: AbortSignal,
    kind?: Kind,
  ): Promise<Task> {
    const until = performance.now() + waitMs;
    // Whoever hears of ends need not look before the first one.
    let task = waitMs > 0 && ended.isListening() ? undefined : await get(taskId, owner, kind);
    for (;;) {
      const left = until - performance.now();
      if (task !== undefined && (isFinished(task.state) || left <= 0 || signal.aborted)) return task;
      // Looking again every second covers an announcement that was lost.
      await untilEnded(taskId, Math.max(0, Math.min(left, 1000)), signal);
      task = await get(taskId, owner, kind);
    }
  }

  async function findByFile(base: string): Promise<Task | undefined> {
    const member = await redis.get(KEYS.file(base));
    const found = member === null ? undefined : await lookup.load(readTaskMember(member).taskId, null);
    return found && readable(found);
  }

  return {
    checkCapacity: (kind) => orUnavailable(() => checkCapacity(kind)),
    submit: (submission) => orUnavailable(() => submitWhereRoom(submission)),
    get: (taskId, owner) => orUnavailable(() => getReadable(taskId, owner)),
    list: (query) => orUnavailable(() => listTasks(redis, lookup, query)),
    cancel: (taskId, owner) => orUnavailable(() => cancel(taskId, owner)),
    waitForEnd: (...asked) => orUnavailable(() => waitForEnd(...asked)),
    findByFile: (base) => orUnavailable(() => findByFile(base)),
  };
}
