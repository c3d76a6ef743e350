import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { ended, getTask } from '../support/api.ts';
import { lanePids } from '../support/lanes.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb } from '../support/web.ts';

describe.skipIf(!requireShared())('a queue with one slot', () => {
  let web: TestWeb;
  const { post, postHeld } = objectTasks(() => web.url);
  const postAs = (priority: number) => post({ priority: String(priority) });

  beforeAll(async () => {
    web = await startWeb({ models: ['yolox_nano'], workers: ['object'] });
  });

  afterAll(async () => {
    await web.stop();
  });

  async function orderOfStart(taskIds: string[]): Promise<string[]> {
    const tasks = await Promise.all(taskIds.map((taskId) => ended(web.url, taskId)));
    for (const task of tasks) expect(task).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    return tasks
      .sort((a, b) => Date.parse(a.started_at ?? '') - Date.parse(b.started_at ?? ''))
      .map(({ task_id }) => task_id);
  }

  it('takes the most urgent first, and those of one priority in the order of their arrival', async () => {
    // Everything that is posted from now on has to wait.
    const { lane } = await postHeld();
    const least = await postAs(0);
    const usual = [await post(), await post()];
    const most = await postAs(9);
    const high = [await postAs(7), await postAs(7)];
    const expected = [most, ...high, ...usual, least];
    const positions = await Promise.all(expected.map(async (taskId) => (await getTask(web.url, taskId)).position));
    expect(positions).toEqual([1, 2, 3, 4, 5, 6]);
    lane.release();
    expect(await orderOfStart(expected)).toEqual(expected);
  });

  it.each([
    [9, 1],
    [5, 9],
    [0, 19],
  ])('gives a picture of priority %i BullMQ priority %i', async (priority, expected) => {
    const { lane } = await postHeld();
    const taskId = await postAs(priority);
    const job = await web.redis.client().hgetall(KEYS.job('object_detection', taskId));
    expect(Number(job.priority)).toBe(expected);
    expect((await getTask(web.url, taskId)).options?.priority).toBe(priority);
    lane.release();
    await ended(web.url, taskId);
  });

  it('gets through a burst, each task once', async () => {
    const taskIds = await Promise.all(Array.from({ length: 60 }, (_, index) => postAs(index % 10)));
    expect(new Set(await orderOfStart(taskIds)).size).toBe(60);
  });

  it('goes on while its detection processes are recycled', async () => {
    const settings = { ...web.env, WORKER_MAX_TASKS_PER_CHILD: '40', WORKER_CONCURRENCY: '2' };
    const permanent = lanePids();
    const recycling = await startWorker('object', web.folders, settings);
    const lanes = () => lanePids().filter((pid) => !permanent.includes(pid));
    const seen = new Set<number>();
    try {
      for (let round = 0; round < 10; round++) {
        const taskIds = await Promise.all(Array.from({ length: 40 }, () => post()));
        for (const taskId of taskIds) {
          expect(await ended(web.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
        }
        for (const pid of lanes()) seen.add(pid);
      }
      expect(seen.size).toBeGreaterThan(3);
      await waitFor('the old processes to be gone', () => lanes().length === 2);
    } finally {
      await recycling.stop();
    }
  });
});
