import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { queuePriority } from '../contract/options.ts';
import { JOB_VERSION, type JobData } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { KEYS } from './keys.ts';
import type { Queues } from './queues.ts';
import type { TaskLookup } from './task-lookup.ts';
import type { Submission, Submitted } from './task-service.ts';
import { readJobData } from './task-view.ts';

/** A stored file's task stays findable for so long at least, however long the task waits. */
const FILE_INDEX_SECONDS = 30 * 86_400;

const SETTLE_EVERY_MS = 1000;

type Doubt = {
  kind: Kind;
  fileName: string;
  /** Whether another request may have made a task of its own under this id (idempotency keys). */
  shared: boolean;
};

/**
 * Puts tasks into their queue. A submission that failed without telling whether Redis had taken the task is in doubt:
 * the client was told that there is none, its file is gone, so the task goes as soon as Redis answers again.
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
  const doubts = new Map<string, Doubt>();
  let settling = false;

  async function settle(taskId: string, { kind, fileName, shared }: Doubt): Promise<void> {
    const job = shared ? await queues[kind].getJob(taskId) : undefined;
    const isOurs = !shared || (job !== undefined && readJobData(job)?.file.name === fileName);
    if (isOurs) await queues[kind].remove(taskId);
    doubts.delete(taskId);
  }

  async function settleAll(): Promise<void> {
    if (settling) return;
    settling = true;
    for (;;) {
      try {
        for (const [taskId, doubt] of doubts) await settle(taskId, doubt);
        break;
      } catch {
        await sleep(SETTLE_EVERY_MS, undefined, { ref: false });
      }
    }
    settling = false;
  }

  /** Who made the task under this idempotency key, this request where nobody has. */
  async function reserve(key: string, fingerprint: string): Promise<{ taskId: string; fingerprint: string }> {
    const mine = { taskId: randomUUID(), fingerprint };
    for (;;) {
      if ((await redis.set(key, JSON.stringify(mine), 'EX', resultTtlSeconds, 'NX')) === 'OK') return mine;
      const earlier = await redis.get(key);
      if (earlier !== null) return JSON.parse(earlier) as typeof mine;
    }
  }

  /** The id for a task and whether an earlier request has made it already. */
  async function identify({ idempotency, owner }: Submission): Promise<{ taskId: string; exists: boolean }> {
    if (idempotency === undefined) return { taskId: randomUUID(), exists: false };
    const { taskId, fingerprint } = await reserve(KEYS.idempotency(owner, idempotency.key), idempotency.fingerprint);
    if (fingerprint !== idempotency.fingerprint) {
      throw new AppError('IDEMPOTENCY_MISMATCH', 'This Idempotency-Key was used for another file, route or options.');
    }
    const doubt = doubts.get(taskId);
    if (doubt !== undefined) await settle(taskId, doubt);
    // The process that reserved the key may have died before it had queued the task: then this request does.
    const [revoked, found] = await Promise.all([redis.exists(KEYS.revoked(taskId)), findJob(taskId)]);
    return { taskId, exists: revoked === 1 || found !== undefined };
  }

  async function enqueue(submission: Submission, taskId: string): Promise<void> {
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
    const member = `${KINDS[kind].queue}:${taskId}`;
    const index = redis
      .pipeline()
      .set(KEYS.file(submission.base), member, 'EX', FILE_INDEX_SECONDS)
      .zadd(KEYS.index(null), now, member);
    // That of a key which is used no more goes by itself.
    if (owner !== null) index.zadd(KEYS.index(owner), now, member).expire(KEYS.index(owner), FILE_INDEX_SECONDS);
    const [replies] = await Promise.all([
      index.exec(),
      queues[kind].add(media, data, {
        jobId: taskId,
        timestamp: now,
        priority: queuePriority(options.priority, media === 'video'),
      }),
    ]);
    const failed = replies?.find(([error]) => error !== null);
    if (failed?.[0]) throw failed[0];
  }

  /** Of two requests at the same time under one idempotency key only one has made the task. */
  async function hasTaken(submission: Submission, taskId: string): Promise<boolean> {
    if (submission.idempotency === undefined) return true;
    const job = await queues[submission.kind].getJob(taskId);
    return job === undefined || readJobData(job)?.file.name === submission.file.name;
  }

  return async (submission, beforeNew) => {
    const { taskId, exists } = await identify(submission);
    if (exists) return { taskId, created: false };
    await beforeNew();
    try {
      await enqueue(submission, taskId);
      return { taskId, created: await hasTaken(submission, taskId) };
    } catch (error) {
      const doubt = {
        kind: submission.kind,
        fileName: submission.file.name,
        shared: submission.idempotency !== undefined,
      };
      doubts.set(taskId, doubt);
      // Tried at once: a Redis that merely hangs finds this right behind the task, before any worker does.
      settle(taskId, doubt).catch(settleAll);
      throw error;
    }
  };
}
