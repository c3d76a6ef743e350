import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { AppError, TransientError } from '../errors.ts';
import { LEASH, LEASH_NOT_FOUND } from './leash.ts';

export type CageLimits = {
  /** None when unset: whoever started the process then ends it. */
  timeoutMs?: number | undefined;
  /** Aborting it kills the process; the run then fails with the signal's reason. */
  signal?: AbortSignal | undefined;
};

/** A program that ended with an error of its own; the message holds the last lines it said, for logs only. */
export class CagedProgramError extends Error {
  constructor(command: string, code: number, lastWords: string) {
    super(`${command} ended with code ${code}: ${lastWords}`);
    this.name = 'CagedProgramError';
  }
}

export type CageStreams = {
  /** Leaves standard input open for writing; else it is empty. */
  withInput?: boolean;
  /** Opens file descriptor 3 for the program to write to. */
  withReport?: boolean;
};

export type Caged = {
  /** Standard input, where it was asked for. */
  stdin: Writable | null;
  stdout: Readable;
  /** What the program says meanwhile, as text. */
  stderr: Readable;
  /** What the program writes to file descriptor 3, where that was asked for. */
  report: Readable | null;
  /** Settles once the process is gone and its output read; rejects with the reason of a kill or its failure. */
  ended: Promise<void>;
  /** Ends the process at once; `ended` rejects with `reason`. Does nothing once it has ended. */
  kill(reason: Error): void;
};

const LAST_WORDS_CHARACTERS = 2000;

const running = new Set<() => void>();
process.on('exit', () => {
  for (const killNow of running) killNow();
});

/**
 * Runs a foreign program that reads untrusted files: below normal priority, killed on abort, at its time limit and with
 * this process; on Linux also with the thread that started it and whatever ended that.
 *
 * `ended` rejects with CagedProgramError (exit code), TransientError (not started, killed from outside), AppError
 * TIMEOUT, or the reason of the abort.
 */
export function spawnCaged(
  command: string,
  args: readonly string[],
  limits: CageLimits,
  { withInput = false, withReport = false }: CageStreams = {},
): Caged {
  limits.signal?.throwIfAborted();
  const [program, ...words] = [...LEASH, command, ...args] as [string, ...string[]];
  const stdio: ('pipe' | 'ignore')[] = [withInput ? 'pipe' : 'ignore', 'pipe', 'pipe'];
  if (withReport) stdio.push('pipe');
  const child = spawn(program, words, { stdio, windowsHide: true });
  const { stdin, stdout, stderr } = child;
  const report = (child.stdio[3] ?? null) as Readable | null;
  // Where the system has no file handles left, Node gives back a process without streams.
  if (!stdout || !stderr) throw new TransientError(`${command} could not be started.`);
  // A program that ends early leaves its input unread; its exit code tells why.
  stdin?.on('error', () => {});
  const killNow = () => child.kill('SIGKILL');
  running.add(killNow);
  lowerPriority(child.pid);

  let lastWords = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-LAST_WORDS_CHARACTERS);
  });

  let reason: Error | undefined;
  const kill = (why: Error) => {
    reason ??= why;
    killNow();
    stdout.destroy();
  };
  const { timeoutMs } = limits;
  const outOfTime = () => kill(new AppError('TIMEOUT', 'Reading the file took too long.'));
  const timer = timeoutMs === undefined ? undefined : setTimeout(outOfTime, Math.max(1, timeoutMs));
  const onAbort = () => kill(asError(limits.signal?.reason));
  limits.signal?.addEventListener('abort', onAbort, { once: true });

  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => {
      reason ??= new TransientError(`${command} could not be started.`, { cause: error });
    });
    child.once('close', (code, killedBy) => {
      clearTimeout(timer);
      limits.signal?.removeEventListener('abort', onAbort);
      running.delete(killNow);
      if (reason !== undefined) reject(reason);
      else if (code === 0) resolve();
      else if (code === null) reject(new TransientError(`${command} was killed by ${killedBy}.`));
      else if (code === LEASH_NOT_FOUND && LEASH.length > 0)
        reject(new TransientError(`${command} could not be started.`, { cause: new Error(lastWords) }));
      else reject(new CagedProgramError(command, code, lastWords.trim()));
    });
  });
  // A caller that fails on the output first does not wait for the end.
  ended.catch(() => {});
  return { stdin, stdout, stderr, report, ended, kill };
}

/**
 * Runs a program as {@link spawnCaged} does and gives back what it wrote to standard output.
 *
 * @param outputBytes the most that it may write; one byte more kills it
 */
export async function runCaged(
  command: string,
  args: readonly string[],
  limits: CageLimits & { outputBytes: number },
): Promise<Uint8Array> {
  const caged = spawnCaged(command, args, limits);
  const output = Buffer.allocUnsafeSlow(limits.outputBytes);
  let length = 0;
  caged.stdout.on('data', (chunk: Buffer) => {
    if (length + chunk.length > output.length) {
      caged.kill(new Error(`${command} wrote more than ${limits.outputBytes} bytes.`));
      return;
    }
    output.set(chunk, length);
    length += chunk.length;
  });
  await caged.ended;
  return output.subarray(0, length);
}

function lowerPriority(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended already.
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new DOMException('The operation was aborted.', 'AbortError');
}
