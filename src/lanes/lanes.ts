import pidusage from 'pidusage';
import type { Logger } from '../log.ts';
import { type OnProgress, startLaneProcess } from './lane-process.ts';
import { createLaneSlot, type LaneSlot } from './lane-slot.ts';
import type { LaneAnswer, LaneSettings, LaneTask } from './protocol.ts';

export type LaneUse = { pid: number; rss: number };

export type Lanes = {
  readonly count: number;
  /**
   * Resolves when every process has loaded and run its models once, with a sentence for each model that cannot be.
   *
   * @throws TransientError where a process cannot start
   */
  warm(): Promise<string[]>;
  /**
   * Runs a task in a free process, after those that asked before. The process ends at once when `signal` aborts.
   *
   * @throws the signal's reason, LaneLostError where the process died while it worked, or TransientError where none
   *   could be started
   */
  run(task: LaneTask, signal: AbortSignal, onProgress?: OnProgress): Promise<LaneAnswer>;
  usage(): Promise<LaneUse[]>;
  close(): Promise<void>;
};

/**
 * As many detection processes as asked for, started when they are first needed.
 *
 * @param maxTasks tasks after which a process is replaced by a fresh one
 */
export function createLanes(count: number, settings: LaneSettings, maxTasks: number, log: Logger): Lanes {
  const slots = Array.from({ length: count }, () =>
    createLaneSlot(() => startLaneProcess(settings, log), maxTasks, log),
  );
  const idle = [...slots];
  const queue: ((slot: LaneSlot) => void)[] = [];

  function take(signal: AbortSignal): Promise<LaneSlot> {
    const warm = idle.findIndex((slot) => slot.isWarm());
    const [free] = idle.splice(Math.max(0, warm), 1);
    if (free !== undefined) return Promise.resolve(free);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        queue.splice(queue.indexOf(onFree), 1);
        reject(signal.reason);
      };
      const onFree = (slot: LaneSlot) => {
        signal.removeEventListener('abort', onAbort);
        resolve(slot);
      };
      queue.push(onFree);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  function giveBack(slot: LaneSlot): void {
    const next = queue.shift();
    if (next === undefined) idle.push(slot);
    else next(slot);
  }

  return {
    count,
    async warm() {
      const problems = await Promise.all(slots.map((slot) => slot.warm()));
      return [...new Set(problems.flat())];
    },
    async run(task, signal, onProgress = () => undefined) {
      signal.throwIfAborted();
      const slot = await take(signal);
      try {
        return await slot.run(task, signal, onProgress);
      } finally {
        giveBack(slot);
      }
    },
    async usage() {
      const pids = slots.flatMap((slot) => slot.pid() ?? []);
      const uses = await Promise.all(
        pids.map(async (pid) => {
          const usage = await pidusage(pid).catch(() => undefined);
          return usage === undefined ? undefined : { pid, rss: usage.memory };
        }),
      );
      return uses.filter((use) => use !== undefined);
    },
    async close() {
      await Promise.all(slots.map((slot) => slot.close()));
      pidusage.clear();
    },
  };
}
