import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { queuePriority } from '../contract/options.ts';
import { JOB_VERSION, type JobData } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { KEYS, taskMember } from './keys.ts';
import type { Queues } from './queues.ts';
import type { TaskLookup } from './task-lookup.ts';
import type { Submission, Submitted } from './task-service.ts';
import { readJobData } from './task-view.ts';

/** A stored file's task stays findable for so long at least, however long the task waits. */
const FILE_INDEX_SECONDS = 30 * 86_400;

const SETTLE_EVERY_MS = 1000;

/** Writes down that a further request has been told of the task. Returns 1, 0 where there is none, -1 for a doomed one. */
const ADOPT_SCRIPT = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'doomed') == 1 then return -1 end
redis.call('HSET', KEYS[1], 'adopted', '1')
return 1`;

/** Writes down that the task is to go, unless a client has been told of it. Returns whether it is to go. */
const DOOM_SCRIPT = `
if redis.call('HEXISTS', KEYS[1], 'adopted') == 1 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'doomed', '1') end
return 1`;

/** Frees an idempotency key that this request had reserved and under which there is no task. */
const RELEASE_SCRIPT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('DEL', KEYS[1])`;

/** What an idempotency key stands for, and the Redis key and value that say so. */
type Reservation = { key: string; value: string; isMine: boolean };

type Doubt = {
  taskId: string;
  submission: Submission;
  /** Under it another request may have made, or been told of, the task. */
  reservation: Reservation | undefined;
};

type Identity = { taskId: string; reservation: Reservation | undefined; exists: boolean };

/**
 * Puts tasks into their queue. A submission that failed without telling whether Redis had taken the task is in doubt:
 * the client was told that there is none, so the task and its file go as soon as Redis answers again, unless another
 * request under the same idempotency key has been told of the task meanwhile. Files that are not needed are discarded.
 *
 * @param resultTtlSeconds for how long idempotency keys are kept
 * @returns a function whose `beforeNew` may still refuse a task that has not been made by an earlier request
 */
export function submitTasks(
  redis: Redis,
  queues: Queues,
  { findJob }: TaskLookup,
  resultTtlSeconds: number,
): (submission: Submission, beforeNew: () => Promise<void>) => Promise<Submitted> {
  const doubts = new Set<Doubt>();
  let settling = false;

  const jobKey = (kind: Kind, taskId: string) => KEYS.job(KINDS[kind].queue, taskId);

  async function release(reservation: Reservation | undefined, kind: Kind, taskId: string): Promise<void> {
    if (reservation?.isMine) {
      await redis.eval(RELEASE_SCRIPT, 2, reservation.key, jobKey(kind, taskId), reservation.value);
    }
  }

  /** Whether the job under this id is the one that this submission made, and nobody has been told of it. */
  async function isToGo({ taskId, submission, reservation }: Doubt): Promise<boolean> {
    const { kind, file } = submission;
    if (reservation === undefined) return true;
    const job = await queues[kind].getJob(taskId);
    if (job === undefined || readJobData(job)?.file.name !== file.name) return false;
    return (await redis.eval(DOOM_SCRIPT, 1, jobKey(kind, taskId))) === 1;
  }

  async function settle(doubt: Doubt): Promise<void> {
    const { taskId, submission, reservation } = doubt;
    const { kind, file } = submission;
    if (await isToGo(doubt)) await queues[kind].remove(taskId);
    if (reservation !== undefined) {
      await release(reservation, kind, taskId);
      const left = await queues[kind].getJob(taskId);
      if (left === undefined || readJobData(left)?.file.name !== file.name) await submission.discardFile();
    }
    doubts.delete(doubt);
  }

  async function settleAll(): Promise<void> {
    if (settling) return;
    settling = true;
    for (;;) {
      try {
        for (const doubt of doubts) await settle(doubt);
        break;
      } catch {
        await sleep(SETTLE_EVERY_MS, undefined, { ref: false });
      }
    }
    settling = false;
  }

  /** Who made the task under this idempotency key, this request where nobody has. */
  async function reserve(
    key: string,
    fingerprint: string,
  ): Promise<{ taskId: string; fingerprint: string; reservation: Reservation }> {
    const mine = { taskId: randomUUID(), fingerprint };
    const value = JSON.stringify(mine);
    for (;;) {
      if ((await redis.set(key, value, 'EX', resultTtlSeconds, 'NX')) === 'OK')
        return { ...mine, reservation: { key, value, isMine: true } };
      const earlier = await redis.get(key);
      if (earlier !== null)
        return {
          ...(JSON.parse(earlier) as typeof mine),
          reservation: { key, value: earlier, isMine: false },
        };
    }
  }

  /** Takes part in a task that an earlier request has made; false where it has to be made anew. */
  async function adopt(kind: Kind, taskId: string): Promise<boolean> {
    const adopted = await redis.eval(ADOPT_SCRIPT, 1, jobKey(kind, taskId));
    if (adopted !== -1) return adopted === 1;
    // Whoever made it was told that it had failed.
    if ((await queues[kind].remove(taskId)) === 1) return false;
    throw new Error('a task that is about to go still runs');
  }

  /** The id for a task and whether an earlier request has made it already. */
  async function identify({ idempotency, owner }: Submission): Promise<Identity> {
    if (idempotency === undefined) return { taskId: randomUUID(), reservation: undefined, exists: false };
    const { taskId, fingerprint, reservation } = await reserve(
      KEYS.idempotency(owner, idempotency.key),
      idempotency.fingerprint,
    );
    if (fingerprint !== idempotency.fingerprint) {
      throw new AppError('IDEMPOTENCY_MISMATCH', 'This Idempotency-Key was used for another file, route or options.');
    }
    for (const doubt of doubts) if (doubt.taskId === taskId) await settle(doubt);
    // The process that reserved the key may have died before it had queued the task: then this request does.
    const [revoked, found] = await Promise.all([redis.exists(KEYS.revoked(taskId)), findJob(taskId)]);
    const exists = revoked === 1 || (found !== undefined && (await adopt(found.kind, taskId)));
    return { taskId, reservation, exists };
  }

  async function enqueue(submission: Submission, { taskId, reservation }: Identity): Promise<void> {
    const { kind, media, owner, file, annotated, options } = submission;
    const data: JobData = {
      v: JOB_VERSION,
      kind,
      media,
      owner,
      request_id: submission.requestId,
      file,
      annotated,
      options,
    };
    const now = Date.now();
    const member = taskMember(KINDS[kind].queue, taskId);
    // All in one write: Redis runs them in this order, without a pipeline's cost.
    const index: Promise<unknown>[] = [
      redis.set(KEYS.file(submission.base), member, 'EX', FILE_INDEX_SECONDS),
      redis.zadd(KEYS.index(null), now, member),
    ];
    if (owner !== null) {
      // That of a key which is used no more goes by itself.
      index.push(redis.zadd(KEYS.index(owner), now, member), redis.expire(KEYS.index(owner), FILE_INDEX_SECONDS));
    }
    // Another request that was refused may have given the key up.
    if (reservation !== undefined)
      index.push(redis.set(reservation.key, reservation.value, 'EX', resultTtlSeconds, 'NX'));
    await Promise.all([
      ...index,
      queues[kind].add(media, data, {
        jobId: taskId,
        timestamp: now,
        priority: queuePriority(options.priority, media === 'video'),
      }),
    ]);
  }

  /** Of two requests at the same time under one idempotency key only one has made the task. */
  async function hasTaken(submission: Submission, taskId: string): Promise<boolean> {
    if (submission.idempotency === undefined) return true;
    const job = await queues[submission.kind].getJob(taskId);
    return job === undefined || readJobData(job)?.file.name === submission.file.name;
  }

  return async (submission, beforeNew) => {
    let identity: Identity | undefined;
    try {
      identity = await identify(submission);
      if (!identity.exists) await beforeNew();
    } catch (error) {
      const given = identity;
      if (given !== undefined) await release(given.reservation, submission.kind, given.taskId).catch(() => undefined);
      await submission.discardFile();
      throw error;
    }
    const { taskId, reservation, exists } = identity;
    try {
      if (!exists) await enqueue(submission, identity);
      const created = !exists && (await hasTaken(submission, taskId));
      if (!created) await submission.discardFile();
      return { taskId, created };
    } catch (error) {
      const doubt = { taskId, submission, reservation };
      doubts.add(doubt);
      // Nobody else knows of the task: its file need not wait for Redis.
      if (reservation === undefined) await submission.discardFile();
      // Tried at once: a Redis that merely hangs finds this right behind the task, before any worker does.
      settle(doubt).catch(settleAll);
      throw error;
    }
  };
}
