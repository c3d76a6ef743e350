import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { resolve } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { RunningProgress } from '../contract/running-progress.ts';
import { LaneLostError, TransientError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { LEASH } from '../media/leash.ts';
import type { ReadyModel } from '../models/catalog.ts';
import { BATCH } from './batch-class.ts';
import { compiledCodeEnvironment } from './compiled-code.ts';
import { LANE_ENVIRONMENT, LANE_NODE_OPTIONS } from './lane-memory.ts';
import { type LaneAnswer, LaneMessage, type LaneOrder, type LaneSettings, type LaneTask } from './protocol.ts';

const LANE_SCRIPT = resolve(import.meta.dirname, 'lane.ts');

/** Loading models takes about a second; a process that takes longer than this is stuck, in ms. */
const WARM_LIMIT_MS = 60_000;

/** An idle process that was asked to end gets this long, in ms. */
const RETIRE_LIMIT_MS = 2000;

/** A living process takes a task within this time; one that died sooner had been dead before, in ms. */
const TAKE_LIMIT_MS = 250;

/** The process was gone before the task reached it: another one may be asked instead. */
export class NotBegunError extends TransientError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'NotBegunError';
  }
}

export type OnProgress = (progress: RunningProgress) => void;

export type LaneProcess = {
  readonly pid: number | undefined;
  /**
   * Resolves when models are loaded and warm, with a sentence for each that could not be.
   *
   * @throws TransientError where it ended before, or took too long; no task has begun that could be to blame
   */
  readonly ready: Promise<string[]>;
  /** Models in its memory, with what each computes on. */
  readonly models: ReadonlyMap<string, 'cpu' | 'cuda'>;
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>;
  /**
   * One task, after {@link LaneProcess.ready}, and never two at a time.
   *
   * @throws LaneLostError where the process ended while it worked, NotBegunError where it had not begun
   */
  run(task: LaneTask, onProgress: OnProgress): Promise<LaneAnswer>;
  /** Ends it at once, whatever it does. */
  kill(): void;
  /** Lets an idle one end by itself. */
  retire(): void;
};

const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/**
 * How a process is started that the system itself ends together with this one, even while it is stopped or deep in a
 * detection. Where there is no setpriv (other systems than Linux) it ends when it next looks at its channel.
 */
function bindToThisProcess({ compiledCode }: LaneSettings): Pick<ForkOptions, 'execPath' | 'execArgv'> {
  const [setpriv, ...bind] = LEASH;
  if (setpriv === undefined) return { execArgv: [...LANE_NODE_OPTIONS] };
  const environment = { ...LANE_ENVIRONMENT, ...compiledCodeEnvironment(compiledCode) };
  const given = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return { execPath: setpriv, execArgv: [...bind, ...BATCH, 'env', ...given, process.execPath, ...LANE_NODE_OPTIONS] };
}

type Work = {
  begun: boolean;
  givenAt: number;
  onProgress: OnProgress;
  resolve(answer: LaneAnswer): void;
  reject(error: Error): void;
};

/**
 * Starts a detection process.
 *
 * @param findModels those of the settings' `warm` that are there; it looks for the others itself
 * @param onFfmpeg takes the CPU seconds that ffmpeg and ffprobe took for a task
 */
export function startLaneProcess(
  settings: LaneSettings,
  findModels: () => Promise<ReadyModel[]>,
  log: Logger,
  onFfmpeg: (seconds: number) => void,
): LaneProcess {
  const child = fork(LANE_SCRIPT, [], { ...bindToThisProcess(settings), stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  children.add(child);
  const laneLog = log.child({ lane: child.pid });
  const ready = Promise.withResolvers<string[]>();
  const exited = Promise.withResolvers<void>();
  const models = new Map<string, 'cpu' | 'cuda'>();
  let work: Work | undefined;

  const stuck = setTimeout(() => {
    ready.reject(new TransientError('a detection process took too long to load its models'));
    kill();
  }, WARM_LIMIT_MS);
  ready.promise.then(
    () => clearTimeout(stuck),
    () => clearTimeout(stuck),
  );

  function kill(): void {
    child.kill('SIGKILL');
  }

  function tell(order: LaneOrder): void {
    // Where it does not go through the process is ending, and its end says the rest.
    child.send(order, () => undefined);
  }

  function onMessage(given: unknown): void {
    const message = LaneMessage.parse(given);
    if (message.is === 'loaded') models.set(message.model, message.provider);
    else if (message.is === 'ready') ready.resolve(message.problems);
    else if (message.is === 'begun' && work !== undefined) work.begun = true;
    else if (message.is === 'progress') work?.onProgress(message.progress);
    else if (message.is === 'answer') {
      onFfmpeg(message.ffmpegSeconds);
      work?.resolve(message.answer);
      work = undefined;
    }
  }

  function onEnd(how: string, killed: boolean): void {
    if (!children.delete(child)) return;
    const cause = new Error(how);
    ready.reject(
      new TransientError(
        killed ? 'a detection process was killed while it loaded its models' : 'a detection process could not start',
        { cause },
      ),
    );
    if (work !== undefined) {
      const atWork = work.begun || performance.now() - work.givenAt > TAKE_LIMIT_MS;
      work.reject(
        atWork
          ? new LaneLostError('the detection process died while it worked', { cause })
          : new NotBegunError('the detection process was gone before it had begun', { cause }),
      );
    }
    work = undefined;
    exited.resolve();
  }

  child.on('message', (given) => {
    try {
      onMessage(given);
    } catch (error) {
      laneLog.error({ err: error }, 'a detection process sent an invalid message; killing it');
      kill();
    }
  });
  child.on('error', (error) => {
    if (child.pid === undefined) onEnd(error.message, false);
  });
  child.on('exit', (code, signal) => {
    const end = () => onEnd(signal === null ? `exit code ${code}` : `signal ${signal}`, signal !== null);
    // Its last words may still be on their way.
    if (child.connected) child.once('disconnect', end);
    else end();
  });
  child.on('disconnect', kill);
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => laneLog.debug({ text: line }, 'a detection process says'));
  }
  void findModels()
    .catch(() => [])
    .then((models) => tell({ do: 'warm', settings, models }));

  return {
    pid: child.pid,
    ready: ready.promise,
    models,
    exited: exited.promise,
    run(task, onProgress) {
      return new Promise((resolveAnswer, reject) => {
        if (!children.has(child)) {
          reject(new NotBegunError('the detection process was gone before it had begun'));
          return;
        }
        work = { begun: false, givenAt: performance.now(), onProgress, resolve: resolveAnswer, reject };
        tell({ do: 'task', task });
      });
    },
    kill,
    retire() {
      child.off('disconnect', kill);
      if (child.connected) child.disconnect();
      const timer = setTimeout(kill, RETIRE_LIMIT_MS);
      child.once('exit', () => clearTimeout(timer));
    },
  };
}
