import { parentPort } from 'node:worker_threads';

/** What a job gets to hear when it is no longer wanted. */
export const STOP = 'stop';
/** What a thread says when its job has ended and it is free for the next one. */
export const JOB_ENDED = 'job ended';

/** A job under way: takes in what the other side posts, of which {@link STOP} ends it. */
export type RunningJob<Message> = { receive(message: Message | typeof STOP): void; ended: Promise<void> };

/**
 * Makes a thread of `startMediaThread` out of a module: runs one job after the other.
 *
 * @param start begins a job and must not fail later than it returns; `post` sends to the other side
 */
export function serveJobs<Job, ToThread, FromThread>(
  start: (job: Job, post: (message: FromThread) => void) => RunningJob<ToThread>,
): void {
  let running: RunningJob<ToThread> | undefined;
  const post = (message: FromThread | typeof JOB_ENDED) => parentPort?.postMessage(message);

  async function run(job: Job): Promise<void> {
    running = start(job, post);
    await running.ended;
    running = undefined;
    post(JOB_ENDED);
  }
  parentPort?.on('message', (message: { job: Job } | ToThread | typeof STOP) => {
    if (typeof message === 'object' && message !== null && 'job' in message) void run(message.job);
    else running?.receive(message);
  });
}
