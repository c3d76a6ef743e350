import { Job, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { TaskResult } from '../contract/results.ts';
import type { Logger } from '../log.ts';
import { seldom } from '../log-seldom.ts';
import { firstWaiting, MOST_URGENT, PICTURE_PRIORITIES } from '../queue/first-waiting.ts';

/** How often a worker whose last slot is kept for pictures looks for one, in ms. */
const LOOK_EVERY_MS = 150;

export type VideoGate = {
  /** False where a video would take the slot that is kept for pictures: the caller gives it back. */
  enter(isVideo: boolean): boolean;
  /** To be called once for every task that was let in. */
  leave(isVideo: boolean): void;
  /** Takes nothing at all, until it is told to go on. */
  rest(on: boolean): void;
  /** Whether the worker takes nothing by itself at present. */
  isHeld(): boolean;
  /** To be called when the number of slots has changed. */
  refresh(): void;
  stop(): void;
};

/**
 * Keeps one of several slots free of videos, so that pictures never wait for a long one to end. While all other slots
 * run videos the worker takes single tasks and only when a picture waits; one behind videos is let past them.
 */
export function createVideoGate(
  worker: Worker<unknown, TaskResult>,
  redis: Redis,
  slots: () => number,
  log: Logger,
): VideoGate {
  const most = () => (slots() === 1 ? Number.POSITIVE_INFINITY : slots() - 1);
  const mayTell = seldom();
  let videos = 0;
  let busy = 0;
  let held = false;
  let resting = false;
  let stopped = false;
  let looking = false;
  let lookAgain = false;
  let timer: NodeJS.Timeout | undefined;

  function hold(): void {
    if (held) return;
    held = true;
    worker.pause(true).catch((error: unknown) => log.warn({ err: error }, 'the worker could not be held'));
  }

  async function open(): Promise<void> {
    if (!held || stopped || resting) return;
    held = false;
    await worker.resume();
  }

  /** Whether the next task to be taken is a picture; one that waits behind videos is put before them. */
  async function pictureIsNext(): Promise<boolean> {
    const first = await firstWaiting(redis, worker.name);
    if (first === undefined || first.isPicture) return first !== undefined;
    const picture = await firstWaiting(redis, worker.name, PICTURE_PRIORITIES);
    if (picture === undefined) return false;
    const job = await Job.fromId(worker, picture.taskId);
    await job?.changePriority({ priority: MOST_URGENT });
    return job !== undefined;
  }

  async function adjust(): Promise<void> {
    if (stopped || resting) return;
    if (looking) {
      lookAgain = true;
      return;
    }
    looking = true;
    clearTimeout(timer);
    try {
      if (videos < most() || (busy < slots() && (await pictureIsNext()))) await open();
    } catch (error) {
      if (mayTell(String(error))) log.warn({ err: error }, 'the queue could not be looked at');
    }
    looking = false;
    if (lookAgain) {
      lookAgain = false;
      void adjust();
    } else if (!stopped && !resting && videos >= most()) timer = setTimeout(() => void adjust(), LOOK_EVERY_MS);
  }

  return {
    enter(isVideo) {
      const admitted = !isVideo || videos < most();
      if (admitted) {
        busy++;
        if (isVideo) videos++;
      }
      if (videos >= most()) {
        hold();
        void adjust();
      }
      return admitted;
    },
    leave(isVideo) {
      busy--;
      if (isVideo) videos--;
      if (held) void adjust();
    },
    rest(on) {
      resting = on;
      if (on) hold();
      else if (held) void adjust();
    },
    isHeld: () => held,
    refresh() {
      // Going on after a pause makes BullMQ look at its number of slots again.
      hold();
      void adjust();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
