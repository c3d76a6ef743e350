import { setTimeout as sleep } from 'node:timers/promises';
import type { Media } from '../contract/kinds.ts';
import { Stopped, type StopReason } from './attempt-ends.ts';

export type CurrentTask = { task_id: string; started_at: number; media: Media; percent?: number };

export type RunningTask = {
  readonly abort: AbortController;
  readonly startedAt: number;
  readonly token: string;
  readonly media: Media;
  percent?: number;
  /** Whether the attempt counts: Redis has taken note of it. */
  begun: boolean;
};

/** The attempts that a worker has under way, at most one for each task. */
export function createRunningTasks() {
  const running = new Map<string, RunningTask>();

  function stop(taskId: string, reason: StopReason): void {
    running.get(taskId)?.abort.abort(new Stopped(reason));
  }

  return {
    ids: () => [...running.keys()],
    get: (taskId: string) => running.get(taskId),
    add(taskId: string, task: RunningTask): void {
      running.set(taskId, task);
    },
    remove(taskId: string): void {
      running.delete(taskId);
    },
    stop,
    current: (): CurrentTask[] =>
      [...running].map(([task_id, { startedAt, media, percent }]) => ({
        task_id,
        started_at: startedAt,
        media,
        ...(percent === undefined ? {} : { percent }),
      })),
    /** Resolves when nothing, or not this task, runs any more, at the latest after so many ms. */
    async untilEnded(limitMs: number, taskId?: string): Promise<void> {
      const goesOn = () => (taskId === undefined ? running.size > 0 : running.has(taskId));
      const until = performance.now() + limitMs;
      while (goesOn() && performance.now() < until) await sleep(20);
    },
  };
}
