import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { Config } from '../config.ts';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import { TaskResult } from '../contract/results.ts';
import { JOB_VERSION } from '../contract/task.ts';
import { AppError, LaneLostError, TransientError } from '../errors.ts';
import { abortable } from '../lanes/abortable.ts';
import { createLanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import type { ModelCatalog } from '../models/catalog.ts';
import { LOST_SENTENCE, publicError } from '../queue/failure.ts';
import { ATTEMPTS, BACKOFF, MAX_LOSSES } from '../queue/queues.ts';
import type { Submission } from '../queue/task-service.ts';
import { sidecarName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';
import { laneSettings } from './lane-settings.ts';
import { runTask } from './task-runner.ts';

const TRY_AGAIN_MS = 2000;

/** How long ended detections may take to be gone, in ms. */
const LAST_WORDS_MS = 1000;

export type SyncService = {
  /** Loads the models, trying again where detection processes cannot start. To be called once. */
  warm(): Promise<void>;
  isWarm(): boolean;
  /** Whether models are still being loaded for the first time. */
  isLoading(): boolean;
  /** @throws AppError as a task would fail */
  run(submission: Submission, signal: AbortSignal): Promise<TaskResult & { task_id: string }>;
  /** Result that a stored file belongs to, undefined where there is none (any more). */
  resultOf(base: string): Promise<TaskResult | undefined>;
  load(kind: Kind): { slots: number; busy: number; waiting: number; oldest_waiting_s: number };
  /** Ends what runs with an answer that says so; resolves when that has left nothing behind. */
  giveUp(): Promise<void>;
  close(): Promise<void>;
};

class OutOfTime extends Error {}

const stopping = () =>
  new AppError('QUEUE_UNAVAILABLE', 'The service is being stopped. Send the file again in a moment.', {
    retryAfterSeconds: 5,
  });

/** Detection without queue: the same lanes and the same runner as a worker's, in the web process's own keeping. */
export function createSyncService(config: Config, catalog: ModelCatalog, storage: Storage, log: Logger): SyncService {
  const closing = new AbortController();
  const givingUp = new AbortController();
  let warmed = false;
  let loading = true;
  let lanes: ReturnType<typeof createLanes> | undefined;
  const underWay = new Map<string, { kind: Kind; since: number }>();
  const slots = pLimit(config.worker.concurrency);
  // With more than one slot, one stays free of videos.
  const videoSlots = pLimit(Math.max(1, config.worker.concurrency - 1));

  const secondsFor = ({ media }: Submission) =>
    media === 'video' ? config.limits.videoSeconds : config.limits.imageSeconds;

  async function modelsToWarm(): Promise<string[]> {
    const found = await Promise.all(KIND_NAMES.map((kind) => catalog.defaultFor(kind, config.models[kind])));
    return found.flatMap((model) => (model === undefined ? [] : [model.name]));
  }

  async function attempt(
    taskId: string,
    submission: Submission,
    waitSince: number,
    signal: AbortSignal,
  ): Promise<TaskResult> {
    if (lanes === undefined || loading)
      throw new AppError('MODEL_UNAVAILABLE', 'The detectors are still loading.', { retryAfterSeconds: 5 });
    const { kind, media, owner, requestId, file, annotated, options } = submission;
    const data = {
      v: JOB_VERSION,
      kind,
      media,
      owner,
      request_id: requestId,
      file,
      annotated,
      options,
    } as const;
    return runTask(taskId, data, performance.now() - waitSince, { lanes, storage }, signal);
  }

  /** One attempt once there is a slot for it; the time limit is that of the attempt alone. */
  async function attemptInSlot(
    taskId: string,
    submission: Submission,
    since: number,
    signal: AbortSignal,
  ): Promise<TaskResult> {
    const begun = Promise.withResolvers<void>();
    const limited = async () => {
      signal.throwIfAborted();
      begun.resolve();
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(new OutOfTime()), secondsFor(submission) * 1000);
      const both = AbortSignal.any([signal, limit.signal]);
      return attempt(taskId, submission, since, both).finally(() => clearTimeout(timer));
    };
    const inSlot = () => slots(limited);
    const attempted = submission.media === 'video' ? videoSlots(inSlot) : inSlot();
    attempted.catch(() => undefined);
    // Who hangs up while waiting for a turn is not waited for.
    await abortable(begun.promise, signal);
    return attempted;
  }

  async function withRetry(taskId: string, submission: Submission, signal: AbortSignal): Promise<TaskResult> {
    const since = performance.now();
    let losses = 0;
    for (let attempts = 1; ; attempts++) {
      try {
        return await attemptInSlot(taskId, submission, since, signal);
      } catch (error) {
        if (error instanceof LaneLostError && ++losses > MAX_LOSSES)
          throw new AppError('WORKER_LOST', LOST_SENTENCE, { cause: error });
        if (!(error instanceof TransientError) || attempts >= ATTEMPTS) throw error;
        const delay = BACKOFF.delay * 2 ** (attempts - 1);
        await sleep(delay * (1 - BACKOFF.jitter * Math.random()), undefined, { signal }).catch(() => {
          throw signal.reason;
        });
      }
    }
  }

  /** The boxes of a result, kept beside its file for the annotated copy that somebody may ask for. */
  async function keep(base: string, result: TaskResult): Promise<void> {
    const path = storage.temporaryPath();
    try {
      await writeFile(path, JSON.stringify(result));
      await storage.commit(path, sidecarName(base));
    } finally {
      await storage.discard(path);
    }
  }

  return {
    async warm() {
      const settings = laneSettings(config, await modelsToWarm());
      if (closing.signal.aborted) return;
      lanes = createLanes(config.worker.concurrency, settings, config.worker.maxTasksPerChild, log);
      while (!closing.signal.aborted) {
        try {
          const problems = await lanes.warm();
          if (problems.length > 0) log.error({ problems }, 'not every model can be used');
          warmed = problems.length === 0;
          loading = false;
          return;
        } catch {
          // The lanes have logged why they cannot start.
          await sleep(TRY_AGAIN_MS, undefined, { signal: closing.signal }).catch(() => undefined);
        }
      }
    },
    isWarm: () => warmed,
    isLoading: () => loading,
    async run(submission, signal) {
      const taskId = randomUUID();
      underWay.set(taskId, { kind: submission.kind, since: Date.now() });
      try {
        const { queueLength } = config.limits;
        if (queueLength > 0 && underWay.size > queueLength + config.worker.concurrency) {
          throw new AppError('QUEUE_FULL', 'Too many requests are waiting at the moment. Try again later.', {
            retryAfterSeconds: 10,
          });
        }
        const result = await withRetry(taskId, submission, AbortSignal.any([signal, givingUp.signal]));
        if (submission.media === 'image' && submission.options.annotate === 'auto') await keep(submission.base, result);
        log.info(
          {
            taskId,
            requestId: submission.requestId,
            kind: submission.kind,
            model: result.model,
            timings: result.timings_ms,
          },
          'task done',
        );
        return { ...result, task_id: taskId };
      } catch (error) {
        await submission.discardFile();
        if (error instanceof OutOfTime)
          throw new AppError('TIMEOUT', `The task took longer than the ${secondsFor(submission)} s it may take.`);
        throw publicError(error);
      } finally {
        underWay.delete(taskId);
      }
    },
    async resultOf(base) {
      const content = await storage.open(sidecarName(base));
      return content === undefined ? undefined : TaskResult.parse(await json(content.read(0, content.bytes)));
    },
    load(kind) {
      const slots = config.worker.concurrency;
      const all = [...underWay.values()];
      const mine = all.filter((task) => task.kind === kind);
      const waiting = Math.max(0, all.length - slots);
      const oldest = waiting === 0 ? 0 : (Date.now() - Math.min(...all.slice(slots).map((task) => task.since))) / 1000;
      return {
        slots,
        busy: Math.min(mine.length, slots),
        waiting: Math.min(waiting, mine.length),
        oldest_waiting_s: Math.round(oldest * 10) / 10,
      };
    },
    async giveUp() {
      givingUp.abort(stopping());
      const until = performance.now() + LAST_WORDS_MS;
      while (underWay.size > 0 && performance.now() < until) await sleep(20);
    },
    async close() {
      closing.abort();
      await lanes?.close();
    },
  };
}
