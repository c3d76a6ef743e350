import pidusage from 'pidusage';
import type { Logger } from '../log.ts';
import { createCatalog } from '../models/catalog.ts';
import { type OnProgress, startLaneProcess } from './lane-process.ts';
import { createLaneSlot, type LaneSlot } from './lane-slot.ts';
import type { LaneAnswer, LaneSettings, LaneTask } from './protocol.ts';

/** Resident memory in bytes, CPU in percent of one core. */
export type LaneUse = { pid: number; rss: number; cpu: number };

export type Lanes = {
  /** Processes that take tasks. */
  readonly count: number;
  /**
   * Changes their number: new ones join once they are warm, what runs on one that is to go runs to its end.
   */
  resize(count: number): void;
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
  /** Models in memory, with what each computes on. */
  models(): { name: string; provider: 'cpu' | 'cuda' }[];
  /** CPU seconds that ffmpeg and ffprobe have taken since the start, without those of processes that were killed. */
  ffmpegSeconds(): number;
  close(): Promise<void>;
};

/**
 * As many detection processes as asked for, started when they are first needed.
 *
 * @param maxTasks tasks after which a process is replaced by a fresh one, the first ones one after another
 */
export function createLanes(count: number, settings: LaneSettings, maxTasks: number, log: Logger): Lanes {
  let ffmpegSeconds = 0;
  const onFfmpeg = (seconds: number) => {
    ffmpegSeconds += seconds;
  };
  const catalog = createCatalog(settings.modelsDir, settings.shippedManifest);
  const findModels = async () => (await catalog.ready()).filter(({ name }) => settings.warm.includes(name));
  const open = (firstShare = maxTasks) =>
    createLaneSlot(() => startLaneProcess(settings, findModels, log, onFfmpeg), maxTasks, firstShare, log);
  const slots = Array.from({ length: count }, (_, index) => open(Math.ceil(maxTasks * (1 - index / count))));
  const leaving = new Set<LaneSlot>();
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
    if (leaving.has(slot)) return void dismiss(slot);
    const next = queue.shift();
    if (next === undefined) idle.push(slot);
    else next(slot);
  }

  function dismiss(slot: LaneSlot): void {
    leaving.add(slot);
    void slot.close().finally(() => leaving.delete(slot));
  }

  async function add(): Promise<void> {
    const slot = open();
    slots.push(slot);
    // One that cannot get warm says so to the task that it is given.
    await slot.warm().catch(() => undefined);
    giveBack(slot);
  }

  function remove(): void {
    const free = idle.pop();
    const slot = free ?? slots.at(-1);
    if (slot === undefined) return;
    slots.splice(slots.indexOf(slot), 1);
    if (free === undefined) leaving.add(slot);
    else dismiss(slot);
  }

  return {
    get count() {
      return slots.length;
    },
    resize(wanted) {
      while (slots.length < wanted) void add();
      while (slots.length > Math.max(1, wanted)) remove();
    },
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
          return usage === undefined ? undefined : { pid, rss: usage.memory, cpu: usage.cpu };
        }),
      );
      return uses.filter((use) => use !== undefined);
    },
    models() {
      const all = new Map(slots.flatMap((slot) => [...slot.models()]));
      return [...all].map(([name, provider]) => ({ name, provider }));
    },
    ffmpegSeconds: () => ffmpegSeconds,
    async close() {
      await Promise.all([...slots, ...leaving].map((slot) => slot.close()));
      pidusage.clear();
    },
  };
}
