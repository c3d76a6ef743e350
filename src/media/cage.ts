import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import type { Readable } from 'node:stream';
import { AppError, TransientError } from '../errors.ts';

export type CageLimits = {
  timeoutMs: number;
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

export type Caged = {
  stdout: Readable;
  /** Settles once the process is gone and its output read; rejects with the reason of a kill or its failure. */
  ended: Promise<void>;
  /** Ends the process at once; `ended` rejects with `reason`. */
  kill(reason: Error): void;
};

const LAST_WORDS_CHARACTERS = 2000;

const running = new Set<() => void>();
process.on('exit', () => {
  for (const killNow of running) killNow();
});

/**
 * Runs a foreign program that reads untrusted files: below normal priority, without input, killed on abort, at its time
 * limit and with this process.
 *
 * `ended` rejects with CagedProgramError (exit code), TransientError (not started, killed from outside), AppError
 * TIMEOUT, or the reason of the abort.
 */
export function spawnCaged(command: string, args: readonly string[], limits: CageLimits): Caged {
  limits.signal?.throwIfAborted();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true });
  // Where the system has no file handles left, Node gives back a process without streams.
  if (child.stdout === undefined) throw new TransientError(`${command} could not be started.`);
  const killNow = () => child.kill('SIGKILL');
  running.add(killNow);
  lowerPriority(child.pid);

  let lastWords = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-LAST_WORDS_CHARACTERS);
  });

  let reason: Error | undefined;
  function kill(why: Error): void {
    reason ??= why;
    killNow();
    child.stdout.destroy();
  }
  const timer = setTimeout(
    () => kill(new AppError('TIMEOUT', 'Reading the file took too long.')),
    Math.max(1, limits.timeoutMs),
  );
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
      else reject(new CagedProgramError(command, code, lastWords.trim()));
    });
  });
  // A caller that fails on the output first does not wait for the end.
  ended.catch(() => {});
  return { stdout: child.stdout, ended, kill };
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
