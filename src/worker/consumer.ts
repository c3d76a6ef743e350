import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { KINDS, type Kind, type Media } from '../contract/kinds.ts';
import type { TaskResult } from '../contract/results.ts';
import { JobData } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { HAND_BACK_MS, LAST_WORDS_MS } from '../grace.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { trackAttempts } from '../queue/attempts.ts';
import { OTHER_VERSION_SENTENCE } from '../queue/failure.ts';
import { waitsSince } from '../queue/queued-again.ts';
import { MAX_LOSSES } from '../queue/queues.ts';
import { whyUnreadable } from '../queue/sealed-jobs.ts';
import { putBackStalled, watchForStalled } from '../queue/stalled.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import type { Keyring } from '../sealing/keyring.ts';
import type { Storage } from '../storage/storage.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { endAttempts, GIVEN_BACK, Stopped, workerLost } from './attempt-ends.ts';
import { createQueueWorker } from './queue-worker.ts';
import { type CurrentTask, createRunningTasks, type RunningTask } from './running-tasks.ts';
import { mediaOf, recordEnds } from './task-ends.ts';
import { runTask } from './task-runner.ts';
import { createVideoGate } from './video-gate.ts';

export type ConsumerOptions = {
  kind: Kind;
  workerName: string;
  /** Under which this process says that it lives. */
  workerId: string;
  lanes: Lanes;
  storage: Storage;
  statistics: StatisticsRecorder;
  tracing: Tracing | undefined;
  /** Seconds that an attempt at a picture or a video may take. */
  timeLimits: Record<Media, number>;
  keyring: Keyring;
  resultTtlSeconds: number;
};

export type Consumer = {
  start(): void;
  current(): CurrentTask[];
  totals(): { done: number; failed: number; retried: number };
  /** Ends the task if it runs here. */
  cancel(taskId: string): void;
  /** Takes no more and lets what runs finish, until it is told to go on. */
  rest(on: boolean): void;
  /** Runs so many tasks at a time from now on. */
  resize(slots: number): void;
  /** Goes on taking tasks where BullMQ has left off by itself. To be called now and then. */
  keepTaking(): void;
  /** Takes no more, lets what runs finish for so long, gives the rest back to the queue. */
  drain(graceMs: number): Promise<void>;
};

/** A task of our own that is handed to us once more is waited for no longer than its processes take to die, in ms. */
const TWIN_ENDS_MS = 2000;

/** The parts of a detection, for its trace. */
const stagesOf = ({ timings_ms: timings }: TaskResult) =>
  (['decode', 'inference', 'postprocess', 'annotate'] as const).map((name) => ({ name, ms: timings[name] }));

/** Takes tasks of one queue and runs as many at a time as there are lanes. */
export function createConsumer(redis: Redis, options: ConsumerOptions, log: Logger): Consumer {
  const { kind, lanes, storage, statistics, tracing, timeLimits } = options;
  const { queue } = KINDS[kind];
  const running = createRunningTasks();
  /** How long jobs had waited for their attempt, in ms. */
  const waits = new WeakMap<Job, number>();
  const attempts = trackAttempts(redis, queue, { id: options.workerId, name: options.workerName }, options.keyring);
  let started = false;
  let draining = false;
  let resting = false;
  let outages = 0;
  let stalled: { stop(): void } | undefined;

  const onOutage = () => {
    outages++;
  };
  redis.on('close', onOutage);
  const worker = createQueueWorker(redis, queue, { ...options, concurrency: lanes.count }, handle, onOutage, log);
  worker.on('lockRenewalFailed', (taskIds: string[]) => {
    for (const taskId of taskIds) void keepOrStop(taskId);
  });
  const gate = createVideoGate(worker, redis, () => worker.concurrency, log);
  const { handBack, refuse } = endAttempts({
    redis,
    queue,
    attempts,
    statistics,
    timeLimits,
    isDraining: () => draining,
    log,
  });
  const ends = recordEnds(worker, redis, statistics, (job) => waits.get(job), log);

  /** A lock runs out while Redis is away; the task goes on where no other worker has taken it since. */
  async function keepOrStop(taskId: string): Promise<void> {
    const token = running.get(taskId)?.token;
    if (token === undefined) return;
    const held = await attempts.hold(taskId, token).catch(() => true);
    if (!held && running.get(taskId)?.token === token) running.stop(taskId, 'lock-lost');
  }

  /**
   * Lets Redis take note of an attempt. Returns how long the task had waited for it, in ms.
   *
   * @throws what forbids it
   */
  async function admit(job: Job, taskId: string, current: RunningTask): Promise<number> {
    const { abort, startedAt } = current;
    const { revoked, losses, queuedAt } = await attempts.begin(taskId, startedAt, abort.signal);
    current.begun = true;
    const waitMs = Math.max(0, startedAt - waitsSince(job.timestamp, queuedAt));
    waits.set(job, waitMs);
    if (revoked) throw new Stopped('revoked');
    if (losses > MAX_LOSSES) throw workerLost();
    return waitMs;
  }

  async function attempt(job: Job, taskId: string, current: RunningTask): Promise<TaskResult> {
    const { abort } = current;
    const data = JobData.safeParse(job.data).data;
    if (data === undefined) throw whyUnreadable(job.data) ?? new AppError('INTERNAL', OTHER_VERSION_SENTENCE);
    const admitted = admit(job, taskId, current);
    // Nothing can have died under a task before its first attempt: it is begun while Redis takes note.
    if (job.attemptsStarted > 1 || tracing !== undefined) await admitted;
    // Time that Redis takes, however long it is away, is not the task's.
    let limit: NodeJS.Timeout | undefined;
    const startLimit = () => {
      limit = setTimeout(() => running.stop(taskId, 'timeout'), timeLimits[data.media] * 1000);
    };
    admitted.then(startLimit, (error: unknown) => abort.abort(error));
    const run = () =>
      runTask(taskId, data, admitted, { lanes, storage }, abort.signal, (progress) => {
        // Goes into the heartbeat, where nothing is sealed.
        if (options.keyring.current === undefined) current.percent = progress.percent;
        job.updateProgress(progress).catch(() => undefined);
      });
    try {
      if (tracing === undefined) return await run();
      const { media, options: asked } = data;
      const attributes = {
        'recognize.task_id': taskId,
        'recognize.request_id': data.request_id,
        'recognize.worker': options.workerName,
        'recognize.kind': kind,
        'recognize.media': media,
        'recognize.model': asked.model,
        'recognize.wait_ms': await admitted,
      };
      return await tracing.span(`detect ${kind} ${media}`, attributes, run, stagesOf);
    } finally {
      // Whether the attempt counts decides how the task goes on.
      await admitted.catch(() => undefined);
      clearTimeout(limit);
    }
  }

  /** What a task comes to can only be written with its lock, which may have run out together with Redis. */
  async function ensureLock(taskId: string, token: string, outagesBefore: number): Promise<void> {
    if (outages === outagesBefore && redis.status === 'ready') return;
    if (!(await attempts.hold(taskId, token))) throw new Stopped('lock-lost');
  }

  /**
   * Where this worker was silent for so long that its own task was put back, it may be handed that task once more. The
   * lock is the newer attempt's then. BullMQ renews the lock of one of them only, so neither can go on.
   */
  async function endTwin(taskId: string): Promise<boolean> {
    if (running.get(taskId) === undefined) return false;
    running.stop(taskId, 'lock-lost');
    await running.untilEnded(TWIN_ENDS_MS, taskId);
    return true;
  }

  async function handle(job: Job, token = ''): Promise<TaskResult> {
    const taskId = job.id ?? '';
    const isVideo = mediaOf(job) === 'video';
    if ((await endTwin(taskId)) || draining || resting || !gate.enter(isVideo))
      return handBack(job, taskId, token, false);
    const outagesBefore = outages;
    const startedAt = job.processedOn ?? Date.now();
    const abort = new AbortController();
    const current: RunningTask = { abort, startedAt, token, media: mediaOf(job), begun: false };
    running.add(taskId, current);
    try {
      const result = await attempt(job, taskId, current);
      await ensureLock(taskId, token, outagesBefore);
      return result;
    } catch (error) {
      await ensureLock(taskId, token, outagesBefore);
      return await refuse(job, taskId, token, error, current.begun);
    } finally {
      if (running.get(taskId) === current) running.remove(taskId);
      gate.leave(isVideo);
    }
  }

  function run(): void {
    worker.run().catch((error: unknown) => log.error({ err: error }, 'the consumer ended unexpectedly'));
  }

  /** Signs off from the task before its processes are ended: they may die slowly, and this process go first. */
  function giveBack(taskId: string): void {
    if (running.get(taskId)?.begun) attempts.leave(taskId, GIVEN_BACK).catch(() => undefined);
    running.stop(taskId, 'handed-back');
  }

  return {
    start() {
      started = true;
      run();
      stalled = watchForStalled(
        redis,
        () => putBackStalled(redis, queue, worker.getBackend()),
        (taskId) => {
          statistics.count('stalled');
          log.warn({ taskId }, 'the worker of this task has fallen silent; the task is queued again');
        },
        log,
      );
    },
    current: running.current,
    totals: ends.totals,
    cancel: (taskId) => running.stop(taskId, 'revoked'),
    rest(on) {
      resting = on;
      gate.rest(on);
    },
    resize(slots) {
      lanes.resize(slots);
      worker.concurrency = slots;
      gate.refresh();
    },
    keepTaking() {
      if (!started || draining || resting || gate.isHeld() || worker.isRunning()) return;
      log.warn('the consumer had left off; it is started again');
      run();
    },
    async drain(graceMs) {
      draining = true;
      gate.stop();
      stalled?.stop();
      const closed = worker.close().catch((error: unknown) => log.warn({ err: error }, 'closing the consumer'));
      const handBackAll = setTimeout(() => {
        for (const taskId of running.ids()) giveBack(taskId);
      }, graceMs);
      // Without Redis nothing can be written or given back; another worker will find what is left.
      await Promise.race([closed, running.untilEnded(graceMs + HAND_BACK_MS).then(() => sleep(LAST_WORDS_MS))]);
      clearTimeout(handBackAll);
      redis.off('close', onOutage);
    },
  };
}
