import { setTimeout as sleep } from 'node:timers/promises';
import { TransientError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { abortable } from './abortable.ts';
import { type LaneProcess, NotBegunError, type OnProgress } from './lane-process.ts';
import type { LaneAnswer, LaneTask } from './protocol.ts';

/** Processes that may be gone before a task reaches them, until the fault is taken to lie elsewhere. */
const START_TRIES = 3;

/** A killed process is gone within milliseconds; nobody waits longer for it than this. */
const GONE_LIMIT_MS = 1000;

export type LaneSlot = {
  /** Resolves when its process is warm, with a sentence for each model that is not. @throws TransientError */
  warm(): Promise<string[]>;
  /** One task at a time. @throws as {@link LaneProcess.run}, TransientError, the signal's reason */
  run(task: LaneTask, signal: AbortSignal, onProgress: OnProgress): Promise<LaneAnswer>;
  /** True where a task would not have to wait for a process to load its models. */
  isWarm(): boolean;
  pid(): number | undefined;
  models(): Iterable<[string, 'cpu' | 'cuda']>;
  close(): Promise<void>;
};

type Lane = LaneProcess & { warm: boolean };

/**
 * One detection process at a time. One that dies or is ended is replaced at once; one that has done its share of tasks
 * goes on until its successor is warm.
 *
 * @param maxTasks the share of a process
 * @param firstShare that of the first one; where it differs from slot to slot, they do not all start anew at a time
 */
export function createLaneSlot(
  startProcess: () => LaneProcess,
  maxTasks: number,
  firstShare: number,
  log: Logger,
): LaneSlot {
  const all = new Set<Lane>();
  let current: Lane | undefined;
  let successor: Lane | undefined;
  let share = firstShare;
  let left = share;
  let busy = false;
  let closed = false;

  function start(): Lane {
    const lane: Lane = { ...startProcess(), warm: false };
    all.add(lane);
    lane.ready.then(
      () => {
        lane.warm = true;
        log.debug({ lane: lane.pid }, 'detection process ready');
      },
      (error: unknown) => {
        if (!closed) log.error({ err: error }, 'a detection process could not start');
      },
    );
    void lane.exited.then(() => {
      all.delete(lane);
      if (successor === lane) successor = undefined;
      if (current !== lane) return;
      current = undefined;
      // One that could not even start is tried again with the next task.
      if (lane.warm && !closed) install(start());
    });
    return lane;
  }

  function install(lane: Lane): Lane {
    current = lane;
    left = share;
    share = maxTasks;
    return lane;
  }

  function end(lane: Lane): Promise<unknown> {
    lane.kill();
    if (current === lane && !closed) install(start());
    return Promise.race([lane.exited, sleep(GONE_LIMIT_MS, undefined, { ref: false })]);
  }

  function succeed(): void {
    if (busy || closed || successor?.warm !== true) return;
    current?.retire();
    install(successor);
    successor = undefined;
  }

  function renew(): void {
    if (closed || successor !== undefined) return;
    successor = start();
    successor.ready.then(succeed, () => undefined);
  }

  async function attempt(task: LaneTask, signal: AbortSignal, onProgress: OnProgress): Promise<LaneAnswer> {
    if (closed) throw new TransientError('the detection processes have been ended');
    const lane = current ?? install(start());
    await abortable(lane.ready, signal);
    try {
      return await abortable(lane.run(task, onProgress), signal);
    } catch (error) {
      if (signal.aborted) await end(lane);
      throw error;
    }
  }

  return {
    async warm() {
      return (current ?? install(start())).ready;
    },
    async run(task, signal, onProgress) {
      busy = true;
      try {
        for (let tries = 1; ; tries++) {
          try {
            return await attempt(task, signal, onProgress);
          } catch (error) {
            if (signal.aborted || !(error instanceof NotBegunError) || tries === START_TRIES) throw error;
          }
        }
      } finally {
        busy = false;
        if (--left <= 0) renew();
        succeed();
      }
    },
    isWarm: () => current?.warm === true,
    pid: () => current?.pid,
    models: () => current?.models ?? [],
    async close() {
      closed = true;
      await Promise.all([...all].map(end));
    },
  };
}
