import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { waitFor } from './wait-for.ts';

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Sees to it that a child process does not outlive the process that runs the tests. */
export function ownChild<T extends ChildProcess>(child: T): T {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Ends a child process, also one that is stopped; resolves when it is gone. */
export async function endChild(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  child.kill('SIGCONT');
  await gone;
}

/** A server that a test may kill, stop and start again. */
export type Program = {
  pid(): number;
  signal(signal: NodeJS.Signals): void;
  /** Ends it without any warning, as an out-of-memory kill would. */
  kill9(): Promise<void>;
  /** Starts it again, as it was started first. */
  restart(): Promise<void>;
};

/**
 * Starts a server and waits until it answers.
 *
 * @param isUp false, or an error, as long as it does not
 * @throws Error with what it said when it ends instead
 */
export async function startProgram(
  what: string,
  [file, ...args]: readonly [string, ...string[]],
  isUp: () => Promise<boolean>,
  { timeoutMs = 10_000 } = {},
): Promise<Program> {
  async function start(): Promise<ChildProcess> {
    const child = ownChild(spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const state = await waitFor(
      what,
      async () => {
        if (hasEnded(child)) return 'ended';
        return (await isUp()) ? 'up' : undefined;
      },
      { timeoutMs },
    ).catch(async (error: unknown) => {
      await endChild(child, 'SIGKILL');
      throw error;
    });
    if (state === 'ended') throw new Error(`${what} ended at its start. It said:\n${output}`);
    return child;
  }

  let child = await start();
  return {
    pid: () => Number(child.pid),
    signal: (signal) => void child.kill(signal),
    kill9: () => endChild(child, 'SIGKILL'),
    async restart() {
      child = await start();
    },
  };
}
