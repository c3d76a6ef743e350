import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { ended, submit, taskIn } from './api.ts';
import { lanePids, signalAll } from './lanes.ts';
import { sharedFile } from './pictures.ts';

/** A stopped detection process: tasks that it is given hang until it goes on. */
export type HeldLane = { pid: number; release(): void; kill(): void };

export type ObjectTasks = {
  /** Posts a picture of a dog; answers the id of its task. */
  post(fields?: Record<string, string>): Promise<string>;
  /** Stops the one detection process, which has its models loaded then. */
  holdLane(): Promise<HeldLane>;
  /** Posts a task that the stopped detection process holds. */
  postHeld(): Promise<{ taskId: string; lane: HeldLane }>;
};

export const dogPicture = () => sharedFile('samples/dog.jpg');

/** Object tasks for a worker with one slot that runs in this process. */
export function objectTasks(urlOf: () => string): ObjectTasks {
  let dog: Uint8Array<ArrayBuffer> | undefined;
  const tasks: ObjectTasks = {
    post(fields = {}) {
      dog ??= dogPicture();
      return submit(urlOf(), 'object/image', { file: dog, fields });
    },
    async holdLane() {
      await ended(urlOf(), await tasks.post());
      const [pid = 0, ...others] = lanePids();
      expect(others).toEqual([]);
      signalAll([pid], 'SIGSTOP');
      return {
        pid,
        release: () => signalAll([pid], 'SIGCONT'),
        kill: () => signalAll([pid], 'SIGKILL'),
      };
    },
    async postHeld() {
      const lane = await tasks.holdLane();
      const taskId = await tasks.post();
      await taskIn(urlOf(), taskId, ['PROCESSING']);
      // Long enough for a living process to have taken it.
      await sleep(300);
      return { taskId, lane };
    },
  };
  return tasks;
}
