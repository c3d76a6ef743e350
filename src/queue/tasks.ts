import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { KIND_NAMES, KINDS, type Kind } from '../contract/kinds.ts';
import { queuePriority } from '../contract/options.ts';
import { isFinished, JOB_VERSION, type JobData, Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { EndedListener } from './ended.ts';
import { CHANNELS, KEYS } from './keys.ts';
import type { Queues } from './queues.ts';
import type { ListQuery, Submission, TaskService } from './task-service.ts';
import { hasEnded, type OpenState, revokedTask, viewTask } from './task-view.ts';

type Settings = { resultTtlSeconds: number; maxQueueLength: number };

/** A stored file's task stays findable for so long at least, however long the task waits. */
const FILE_INDEX_SECONDS = 30 * 86_400;

/** A record of a cancelled task outlives its job by this much, so that the job never shows through. */
const REVOKED_MARGIN_SECONDS = 120;

/** How long a cancel waits for the running detection to be gone before it answers all the same, in ms. */
const CANCEL_WAIT_MS = 1900;

/** Entries of the index that one page looks at in search of matching tasks. */
const LIST_SCAN_LIMIT = 1000;

/** Writes the record of a cancelled task unless the task has ended. Returns set, ended, exists or missing. */
const REVOKE_SCRIPT = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 'exists' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
if redis.call('HEXISTS', KEYS[1], 'finishedOn') == 1 then return 'ended' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 'set'`;

const notFound = () => new AppError('TASK_NOT_FOUND', 'There is no such task, or its result has expired.');

const unavailable = (cause: unknown) =>
  new AppError('QUEUE_UNAVAILABLE', 'The task queue cannot be reached at the moment. Try again shortly.', {
    retryAfterSeconds: 5,
    cause,
  });

/** Turns a fault of the connection into the contract's answer; the service's own errors pass. */
async function orUnavailable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof AppError ? error : unavailable(error);
  }
}

type Cursor = { score: number; member: string };

const encodeCursor = (cursor: Cursor) => Buffer.from(`${cursor.score} ${cursor.member}`).toString('base64url');

function decodeCursor(text: string): Cursor {
  const match = /^(\d+) (\S+)$/.exec(Buffer.from(text, 'base64url').toString());
  if (match === null)
    throw new AppError('INVALID_OPTION', 'cursor is not one that this list has given.', {
      details: [{ option: 'cursor' }],
    });
  return { score: Number(match[1]), member: match[2] ?? '' };
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
  /** Tasks whose submission was given up without knowing whether Redis had taken them. */
  const doubtful = new Map<string, Kind>();

  redis.on('ready', () => {
    for (const [taskId, kind] of doubtful) {
      queues[kind].remove(taskId).then(
        () => doubtful.delete(taskId),
        () => undefined,
      );
    }
  });

  async function openState(job: Job): Promise<OpenState> {
    if (job.processedOn === undefined && job.attemptsMade === 0) return 'waiting';
    const state = await job.getState();
    return state === 'active' || state === 'delayed' ? state : 'waiting';
  }

  async function findJob(taskId: string): Promise<{ job: Job; kind: Kind } | undefined> {
    const jobs = await Promise.all(KIND_NAMES.map(async (kind) => ({ kind, job: await queues[kind].getJob(taskId) })));
    for (const { kind, job } of jobs) if (job !== undefined) return { kind, job };
    return undefined;
  }

  function isExpired(job: Job): boolean {
    return job.finishedOn !== undefined && job.finishedOn + settings.resultTtlSeconds * 1000 < Date.now();
  }

  async function view(job: Job): Promise<Task> {
    if (hasEnded(job)) return viewTask(job, 'waiting');
    const open = await openState(job);
    const rank = open === 'waiting' ? await redis.zrank(KEYS.prioritized(job.queueName), job.id ?? '') : null;
    // Between the two questions the job may have moved on; a waiting job without a rank has just been taken.
    return viewTask(job, open, rank === null ? undefined : rank + 1);
  }

  function ownedBy(data: unknown, owner: string | null): boolean {
    return owner === null || (data as JobData).owner === owner;
  }

  /** The task and whether `owner` may see it, undefined where it is not to be found. */
  async function load(taskId: string, owner: string | null): Promise<{ task: Task; job: Job | undefined } | undefined> {
    const [revoked, found] = await Promise.all([redis.get(KEYS.revoked(taskId)), findJob(taskId)]);
    if (revoked !== null) {
      const record = JSON.parse(revoked) as { owner: string | null; task: unknown };
      return ownedBy(record, owner) ? { task: Task.parse(record.task), job: found?.job } : undefined;
    }
    if (found === undefined || isExpired(found.job) || !ownedBy(found.job.data, owner)) return undefined;
    return { task: await view(found.job), job: found.job };
  }

  async function get(taskId: string, owner: string | null): Promise<Task> {
    const loaded = await load(taskId, owner);
    if (loaded === undefined) throw notFound();
    return loaded.task;
  }

  /** The task under this idempotency key, or undefined where this request is to make it. */
  async function reserve(submission: Submission, taskId: string): Promise<{ taskId: string; exists: boolean }> {
    const { idempotency, owner } = submission;
    if (idempotency === undefined) return { taskId, exists: false };
    const record = JSON.stringify({ taskId, fingerprint: idempotency.fingerprint });
    const key = KEYS.idempotency(owner, idempotency.key);
    const earlier = await redis.set(key, record, 'EX', settings.resultTtlSeconds, 'NX', 'GET');
    if (earlier === null) return { taskId, exists: false };
    const known = JSON.parse(earlier) as { taskId: string; fingerprint: string };
    if (known.fingerprint !== idempotency.fingerprint) {
      throw new AppError('IDEMPOTENCY_MISMATCH', 'This Idempotency-Key was used for another file, route or options.');
    }
    // The process that reserved the key may have died before it had queued the task: then this request does.
    const [revoked, found] = await Promise.all([redis.exists(KEYS.revoked(known.taskId)), findJob(known.taskId)]);
    return { taskId: known.taskId, exists: revoked === 1 || found !== undefined };
  }

  async function enqueue(submission: Submission, taskId: string): Promise<Job> {
    const { kind, owner, file, options } = submission;
    const data: JobData = {
      v: JOB_VERSION,
      kind,
      media: submission.media,
      owner,
      request_id: submission.requestId,
      file,
      annotated: submission.annotated,
      options,
      losses: 0,
    };
    const now = Date.now();
    const member = `${KINDS[kind].queue}:${taskId}`;
    const index = redis
      .pipeline()
      .set(KEYS.file(submission.base), member, 'EX', FILE_INDEX_SECONDS)
      .zadd(KEYS.index(null), now, member);
    if (owner !== null) index.zadd(KEYS.index(owner), now, member);
    doubtful.set(taskId, kind);
    const [replies, job] = await Promise.all([
      index.exec(),
      queues[kind].add(submission.media, data, {
        jobId: taskId,
        timestamp: now,
        priority: queuePriority(options.priority, false),
      }),
    ]);
    const failed = replies?.find(([error]) => error !== null);
    if (failed?.[0]) throw failed[0];
    doubtful.delete(taskId);
    return job;
  }

  async function ownFileWasTaken(submission: Submission, taskId: string): Promise<boolean> {
    const job = await queues[submission.kind].getJob(taskId);
    return job === undefined || (job.data as JobData).file.name === submission.file.name;
  }

  return {
    checkCapacity: (kind) =>
      orUnavailable(async () => {
        if (redis.status !== 'ready') throw new Error('not connected');
        if (settings.maxQueueLength === 0) return;
        const counts = await queues[kind].getJobCounts('waiting', 'prioritized', 'delayed');
        const length = Object.values(counts).reduce((sum, count) => sum + count, 0);
        if (length >= settings.maxQueueLength) {
          throw new AppError('QUEUE_FULL', 'Too many tasks are waiting at the moment. Try again later.', {
            retryAfterSeconds: 10,
          });
        }
      }),

    submit: (submission) =>
      orUnavailable(async () => {
        const reserved = await reserve(submission, randomUUID());
        if (reserved.exists) return { taskId: reserved.taskId, created: false };
        await enqueue(submission, reserved.taskId);
        const created = submission.idempotency === undefined || (await ownFileWasTaken(submission, reserved.taskId));
        return { taskId: reserved.taskId, created };
      }),

    get: (taskId, owner) => orUnavailable(() => get(taskId, owner)),

    list: (query) => orUnavailable(() => list(query)),

    cancel: (taskId, owner) =>
      orUnavailable(async () => {
        const loaded = await load(taskId, owner);
        if (loaded === undefined) throw notFound();
        const { task, job } = loaded;
        if (task.state === 'REVOKED') return { files: [] };
        const finished = () => new AppError('TASK_FINISHED', `The task has already ended (${task.state}).`);
        if (isFinished(task.state) || job === undefined) throw finished();
        const data = job.data as JobData;
        const record = JSON.stringify({ owner: data.owner, task: revokedTask(task, new Date()) });
        const outcome = await redis.eval(
          REVOKE_SCRIPT,
          2,
          KEYS.job(job.queueName, taskId),
          KEYS.revoked(taskId),
          record,
          settings.resultTtlSeconds + REVOKED_MARGIN_SECONDS,
        );
        if (outcome === 'ended' || outcome === 'missing') throw finished();
        const files = [data.file.name, ...(data.annotated === null ? [] : [data.annotated])];
        if ((await queues[data.kind].remove(taskId)) === 1) {
          await redis.publish(CHANNELS.ended, taskId);
          return { files };
        }
        const stopped = await stopRunning(taskId, data.kind);
        log.info({ taskId, stopped }, 'task cancelled while it ran');
        return { files: stopped ? files : [] };
      }),

    waitForEnd: (taskId, owner, waitMs, signal) =>
      orUnavailable(async () => {
        const until = Date.now() + waitMs;
        for (;;) {
          const woken = new AbortController();
          const giveUp = ended.once(taskId, () => woken.abort());
          try {
            const task = await get(taskId, owner);
            const left = until - Date.now();
            if (isFinished(task.state) || left <= 0 || signal.aborted) return task;
            // The end is announced; looking again every second covers an announcement that was lost.
            await sleep(Math.min(left, 1000), undefined, { signal: AbortSignal.any([signal, woken.signal]) }).catch(
              () => undefined,
            );
          } finally {
            giveUp();
          }
        }
      }),

    findByFile: (base) =>
      orUnavailable(async () => {
        const member = await redis.get(KEYS.file(base));
        const taskId = member?.split(':')[1];
        return taskId === undefined ? undefined : (await load(taskId, null))?.task;
      }),
  };

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

  async function list({ owner, state, queue, limit, cursor }: ListQuery) {
    const tasks: Task[] = [];
    let from = cursor === undefined ? undefined : decodeCursor(cursor);
    let scanned = 0;
    while (tasks.length < limit && scanned < LIST_SCAN_LIMIT) {
      const page = await redis.zrange(
        KEYS.index(owner),
        from?.score ?? '+inf',
        '-inf',
        'BYSCORE',
        'REV',
        'LIMIT',
        0,
        100,
        'WITHSCORES',
      );
      const entries: Cursor[] = [];
      for (let i = 0; i + 1 < page.length; i += 2) entries.push({ member: page[i] ?? '', score: Number(page[i + 1]) });
      const fresh = entries.filter(
        (entry) => from === undefined || entry.score < from.score || entry.member < from.member,
      );
      if (fresh.length === 0) return { tasks, next_cursor: null };
      const candidates = fresh.filter(({ member }) => queue === undefined || member.startsWith(`${queue}:`));
      const loaded = new Map(
        await Promise.all(
          candidates.map(
            async ({ member }) => [member, (await load(member.split(':')[1] ?? '', owner))?.task] as const,
          ),
        ),
      );
      for (const entry of fresh) {
        from = entry;
        scanned++;
        const task = loaded.get(entry.member);
        if (task !== undefined && (state === undefined || task.state === state)) tasks.push(task);
        if (tasks.length === limit) break;
      }
    }
    return { tasks, next_cursor: from === undefined ? null : encodeCursor(from) };
  }
}
