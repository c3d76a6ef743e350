import { type ChildProcess, fork } from 'node:child_process';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { createBackoff } from './backoff.ts';
import { EXIT_RESTART, EXIT_WRONG_SETTING, readReady } from './supervised.ts';

export type ServiceProcess = {
  role: string;
  /**
   * Resolves with its address, if it has one, when it first reports that it is ready. Rejects with a StartError when it
   * cannot start and says so itself; pending as long as it crashes and is tried again.
   */
  ready: Promise<{ url: string | undefined }>;
  /** Asks it to finish what it does; resolves when it is gone, it and everything that it started. */
  stop(): Promise<void>;
  /** Ends it, and everything that it started, at once. */
  kill(): void;
};

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody of the group is left.
  }
}

/** Runs `node <entry> <role>` and starts it again, with growing delays, whenever it ends by itself. */
export function startServiceProcess({
  role,
  entry,
  environment,
  log,
}: {
  role: string;
  entry: string;
  environment: NodeJS.ProcessEnv;
  log: Logger;
}): ServiceProcess {
  const backoff = createBackoff();
  const ready = Promise.withResolvers<{ url: string | undefined }>();
  const gone = Promise.withResolvers<void>();
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let wasReady = false;
  let stopping = false;

  function launch() {
    const since = performance.now();
    // A process group of its own: Ctrl-C reaches the supervisor alone, and the group can be ended as a whole.
    const started = fork(entry, [role], {
      env: environment,
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    child = started;
    started.on('message', (message) => {
      const report = readReady(message);
      if (report === undefined) return;
      if (wasReady) log.info({ role }, 'is back');
      wasReady = true;
      ready.resolve(report);
    });
    let ended = false;
    const onEnd = (reason: { code?: number | null; signal?: NodeJS.Signals | null; err?: Error }) => {
      if (ended) return;
      ended = true;
      child = undefined;
      killGroup(started.pid);
      if (stopping) {
        gone.resolve();
      } else if (reason.code === EXIT_WRONG_SETTING && !wasReady) {
        stopping = true;
        gone.resolve();
        ready.reject(new StartError(`${role} could not start; the reason stands above.`));
      } else if (reason.code === EXIT_RESTART && wasReady) {
        log.info({ role }, 'ended as it was told to; starting it again');
        launch();
      } else {
        const delayMs = backoff.nextDelayMs(performance.now() - since);
        log.error({ role, ...reason, restart_in_ms: delayMs }, 'ended; starting it again');
        timer = setTimeout(launch, delayMs);
      }
    };
    started.on('exit', (code, signal) => onEnd({ code, signal }));
    started.on('error', (err) => {
      if (started.pid === undefined) onEnd({ err });
      else log.warn({ role, err }, 'a message did not go through');
    });
  }

  launch();
  return {
    role,
    ready: ready.promise,
    async stop() {
      stopping = true;
      clearTimeout(timer);
      if (child === undefined) gone.resolve();
      else child.kill('SIGTERM');
      await gone.promise;
    },
    kill() {
      killGroup(child?.pid);
    },
  };
}
