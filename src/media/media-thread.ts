import { Worker } from 'node:worker_threads';
import { TransientError } from '../errors.ts';
import { JOB_ENDED, STOP } from './serve-jobs.ts';

/** How long a thread may take to end what it has started before it is ended from outside. */
const STOP_TIMEOUT_MS = 2000;

/** Threads without a job, by their program: starting one takes a tenth of a second. */
const idle = new Map<string, Worker>();

export type MediaThread<ToThread> = {
  post(message: ToThread): void;
  /** Ends the job and the programs it has started; settles when they are gone. May be called again. */
  stop(): Promise<void>;
};

/**
 * Gives a job to a thread that moves data between this process and ffmpeg while detection keeps the main thread busy.
 * Such a thread never runs native detection code, which makes it safe to end at any time.
 *
 * @param entry module that calls `serveJobs`
 * @param job structured-cloneable; shared memory is shared
 * @param onMessage gets what the job posts
 * @param onFault called once where the thread fails or the job ends without being stopped; harmless after a result
 */
export function startMediaThread<ToThread, FromThread>(
  entry: URL,
  job: object,
  onMessage: (message: FromThread) => void,
  onFault: (error: Error) => void,
): MediaThread<ToThread> {
  const worker = idle.get(entry.href) ?? createWorker(entry);
  idle.delete(entry.href);
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  let isOver = false;

  function receive(message: FromThread | typeof JOB_ENDED): void {
    if (message === JOB_ENDED) {
      leave();
      keep(entry.href, worker);
    } else onMessage(message);
  }
  function fail(error: unknown): void {
    onFault(new TransientError('A media thread has failed.', { cause: error }));
  }
  /** The thread is no longer this job's: it may have the next one soon. */
  function leave(): void {
    isOver = true;
    worker.off('message', receive).off('error', fail).off('exit', leave);
    onFault(new TransientError('A media thread has ended too early.'));
    resolve();
  }
  worker.on('message', receive).on('error', fail).on('exit', leave);
  worker.ref();
  worker.postMessage({ job });

  return {
    post(message) {
      if (!isOver) worker.postMessage(message);
    },
    async stop() {
      if (isOver) return;
      worker.postMessage(STOP);
      const timer = setTimeout(() => void worker.terminate(), STOP_TIMEOUT_MS);
      await gone;
      clearTimeout(timer);
    },
  };
}

function createWorker(entry: URL): Worker {
  const worker = new Worker(entry, { name: 'media', execArgv: [] });
  worker.once('exit', () => {
    if (idle.get(entry.href) === worker) idle.delete(entry.href);
  });
  return worker;
}

/** Lets a thread wait for the next job, without keeping the process alive; one of a kind is enough. */
function keep(program: string, worker: Worker): void {
  if (idle.has(program)) {
    void worker.terminate();
    return;
  }
  worker.unref();
  idle.set(program, worker);
}
