import { resolve } from 'node:path';
import pidusage from 'pidusage';
import workerpool from 'workerpool';
import { LaneLostError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { LaneAnswer, LaneReady, type LaneSettings, type PictureTask } from './protocol.ts';

const LANE_SCRIPT = resolve(import.meta.dirname, 'lane.ts');

/** A cancelled process gets this long to end softly before it is killed, in ms. */
const TERMINATE_MS = 100;

/** Loading models takes about a second; one that takes longer than this is stuck. */
const WARM_LIMIT_MS = 60_000;

export type LaneUse = { pid: number; rss: number };

export type Lanes = {
  readonly count: number;
  /** Resolves when every lane has loaded and run its models once. */
  warm(): Promise<void>;
  /**
   * Runs a task in a free lane, after those that asked before. The lane's process ends at once when `signal` aborts.
   *
   * @throws the signal's reason, or LaneLostError where the process died while it worked
   */
  run(task: PictureTask, signal: AbortSignal): Promise<LaneAnswer>;
  usage(): Promise<LaneUse[]>;
  close(): Promise<void>;
};

type Lane = {
  run(task: PictureTask, signal: AbortSignal): Promise<LaneAnswer>;
  warm(): Promise<LaneReady>;
  pid: number | undefined;
  close(): Promise<void>;
};

type Pool = ReturnType<typeof workerpool.pool>;

function isLost(error: unknown): boolean {
  return error instanceof Error && /terminated|Worker error|channel closed|EPIPE/i.test(error.message);
}

/** True where the process had been dead before it was asked: nothing was lost, a new one is asked instead. */
function wasDeadBefore(error: unknown): boolean {
  return error instanceof Error && error.message === 'Worker is terminated';
}

/** One detection process at a time, replaced when it dies, is killed, or has done its share of tasks. */
function createLane(settings: LaneSettings, maxTasks: number, log: Logger): Lane {
  let pool: Pool | undefined;
  let warming: Promise<LaneReady> | undefined;
  let tasksDone = 0;
  let closed = false;
  const endings = new Set<Promise<unknown>>();

  function discard(old: Pool | undefined, force: boolean): void {
    if (old === undefined) return;
    const ending = Promise.resolve(old.terminate(force, 2000)).catch(() => undefined);
    endings.add(ending);
    void ending.then(() => endings.delete(ending));
  }

  function start(): Promise<LaneReady> {
    const started = workerpool.pool(LANE_SCRIPT, {
      workerType: 'process',
      maxWorkers: 1,
      workerTerminateTimeout: TERMINATE_MS,
    });
    pool = started;
    tasksDone = 0;
    const ready = Promise.resolve(started.exec('warm', [settings]).timeout(WARM_LIMIT_MS)).then((answer) => {
      const parsed = LaneReady.parse(answer);
      lane.pid = parsed.pid;
      log.debug({ lane: parsed.pid, models: parsed.loaded }, 'detection process ready');
      return parsed;
    });
    warming = ready;
    ready.catch((error: unknown) => {
      if (warming === ready) warming = undefined;
      if (pool === started) pool = undefined;
      discard(started, true);
      log.error({ err: error }, 'a detection process could not start');
    });
    return ready;
  }

  function replace(force: boolean): void {
    const old = pool;
    pool = undefined;
    lane.pid = undefined;
    discard(old, force);
    if (!closed) start().catch(() => undefined);
  }

  async function attempt(task: PictureTask, signal: AbortSignal): Promise<LaneAnswer> {
    await (warming ?? start());
    signal.throwIfAborted();
    const running = pool?.exec('picture', [task]);
    if (running === undefined) throw new LaneLostError('the detection process ended while it was loading');
    const onAbort = () => void running.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return LaneAnswer.parse(await Promise.resolve(running));
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  const lane: Lane = {
    pid: undefined,
    warm: () => warming ?? start(),
    async run(task, signal) {
      for (let retry = true; ; retry = false) {
        try {
          const answer = await attempt(task, signal);
          if (++tasksDone >= maxTasks) replace(false);
          return answer;
        } catch (error) {
          const lost = isLost(error);
          if (signal.aborted || lost || error instanceof LaneLostError) replace(true);
          signal.throwIfAborted();
          if (retry && wasDeadBefore(error)) continue;
          throw lost ? new LaneLostError('the detection process died while it worked', { cause: error }) : error;
        }
      }
    },
    async close() {
      closed = true;
      discard(pool, true);
      pool = undefined;
      await Promise.all(endings);
    },
  };
  return lane;
}

/**
 * As many detection processes as asked for.
 *
 * @param maxTasks tasks after which a process is replaced by a fresh one
 */
export function createLanes(count: number, settings: LaneSettings, maxTasks: number, log: Logger): Lanes {
  const lanes = Array.from({ length: count }, () => createLane(settings, maxTasks, log));
  const idle = [...lanes];
  const queue: { resolve(lane: Lane): void }[] = [];

  function take(signal: AbortSignal): Promise<Lane> {
    const free = idle.shift();
    if (free !== undefined) return Promise.resolve(free);
    return new Promise((resolveLane, reject) => {
      const entry = { resolve: resolveLane };
      queue.push(entry);
      signal.addEventListener(
        'abort',
        () => {
          const place = queue.indexOf(entry);
          if (place === -1) return;
          queue.splice(place, 1);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  function giveBack(lane: Lane): void {
    const next = queue.shift();
    if (next === undefined) idle.push(lane);
    else next.resolve(lane);
  }

  return {
    count,
    async warm() {
      await Promise.all(lanes.map((lane) => lane.warm()));
    },
    async run(task, signal) {
      signal.throwIfAborted();
      const lane = await take(signal);
      try {
        return await lane.run(task, signal);
      } finally {
        giveBack(lane);
      }
    },
    async usage() {
      const pids = lanes.flatMap((lane) => (lane.pid === undefined ? [] : [lane.pid]));
      const uses = await Promise.all(
        pids.map(async (pid) => {
          const usage = await pidusage(pid).catch(() => undefined);
          return usage === undefined ? undefined : { pid, rss: usage.memory };
        }),
      );
      return uses.filter((use) => use !== undefined);
    },
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()));
      pidusage.clear();
    },
  };
}
