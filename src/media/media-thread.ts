import { Worker } from 'node:worker_threads';
import { TransientError } from '../errors.ts';

/** What a thread gets to hear when its work is no longer wanted. */
export const STOP = 'stop';

/** How long a thread may take to end what it has started before it is ended from outside. */
const STOP_TIMEOUT_MS = 2000;

export type MediaThread<ToThread> = {
  post(message: ToThread): void;
  /** Ends the thread and the programs it has started; settles when it is gone. May be called again. */
  stop(): Promise<void>;
};

/**
 * Starts a thread that moves data between this process and ffmpeg while detection keeps the main thread busy. It never
 * runs native detection code, which makes it safe to end at any time.
 *
 * @param onMessage gets what the thread posts
 * @param onFault called once if the thread fails or ends by itself without having been stopped
 */
export function startMediaThread<ToThread, FromThread>(
  entry: URL,
  workerData: object,
  onMessage: (message: FromThread) => void,
  onFault: (error: Error) => void,
): MediaThread<ToThread> {
  const worker = new Worker(entry, { workerData, name: 'media', execArgv: [] });
  const gone = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      resolve();
      onFault(new TransientError('A media thread has ended too early.'));
    });
  });
  worker.on('message', onMessage);
  worker.once('error', (error) => onFault(new TransientError('A media thread has failed.', { cause: error })));
  return {
    post: (message) => worker.postMessage(message),
    async stop() {
      worker.postMessage(STOP);
      const timer = setTimeout(() => void worker.terminate(), STOP_TIMEOUT_MS);
      await gone;
      clearTimeout(timer);
    },
  };
}
