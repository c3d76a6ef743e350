import { expect, test } from 'vitest';
import { startMediaThread } from '../../../src/media/media-thread.ts';

/** A thread that does what its job says and tells which of its jobs this is. */
const program = (mark: string) => {
  const serveJobs = JSON.stringify(new URL('../../../src/media/serve-jobs.ts', import.meta.url).href);
  const source = `
    import { serveJobs } from ${serveJobs};
    // ${mark}
    let jobs = 0;
    serveJobs((job, post) => {
      jobs++;
      if (job.what === 'throw') throw new Error('broken job');
      if (job.what === 'exit') process.exit(3);
      const { promise, resolve } = Promise.withResolvers();
      if (job.what === 'count') { post(jobs); resolve(); }
      if (job.what === 'block') { post('blocked'); const until = Date.now() + 60000; while (Date.now() < until); }
      return {
        receive(message) {
          post({ heard: message });
          if (message === 'stop') resolve();
        },
        ended: promise,
      };
    });
  `;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
};

/** Starts a job; `fault` settles with what the job ends with, messages are collected. */
function startJob(entry: URL, what: string) {
  const messages: unknown[] = [];
  const { promise: fault, resolve } = Promise.withResolvers<Error>();
  const { promise: first, resolve: seeFirst } = Promise.withResolvers<unknown>();
  const onMessage = (message: unknown) => {
    messages.push(message);
    seeFirst(message);
  };
  const thread = startMediaThread<string, unknown>(entry, { what }, onMessage, resolve);
  return { thread, messages, fault, first };
}

test('jobs one after the other share a thread, jobs at the same time do not', async () => {
  const entry = program('sharing');
  const one = startJob(entry, 'count');
  await one.fault;
  const two = startJob(entry, 'count');
  await two.fault;
  const [three, four] = [startJob(entry, 'count'), startJob(entry, 'count')];
  await Promise.all([three.fault, four.fault]);
  expect([one, two, three, four].map(({ messages }) => messages)).toEqual([[1], [2], [3], [1]]);
});

test('a job hears what is posted until it is stopped', async () => {
  const { thread, messages } = startJob(program('hearing'), 'wait');
  thread.post('a');
  thread.post('b');
  await thread.stop();
  expect(messages).toEqual([{ heard: 'a' }, { heard: 'b' }, { heard: 'stop' }]);
});

test('who had a thread before cannot disturb who has it now', async () => {
  const entry = program('disturbing');
  const earlier = startJob(entry, 'count');
  await earlier.fault;
  const later = startJob(entry, 'wait');
  earlier.thread.post('nonsense');
  await earlier.thread.stop();
  later.thread.post('sense');
  await later.thread.stop();
  expect(later.messages).toEqual([{ heard: 'sense' }, { heard: 'stop' }]);
  expect(earlier.messages).toEqual([1]);
});

test.each(['throw', 'exit'])(
  'a job that ends its thread (%s) is a fault that may pass, and the next gets a new one',
  async (what) => {
    const entry = program(`failing by ${what}`);
    const failing = startJob(entry, what);
    await expect(failing.fault).resolves.toMatchObject({ name: 'TransientError' });
    await failing.thread.stop();
    const next = startJob(entry, 'count');
    expect(await next.first).toBe(1);
  },
);

test('a thread that does not listen is ended from outside', async () => {
  const { thread, first } = startJob(program('deaf'), 'block');
  await first;
  const started = performance.now();
  await thread.stop();
  expect(performance.now() - started).toBeLessThan(10_000);
});
