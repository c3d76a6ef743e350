import { existsSync } from 'node:fs';
import { join, parse } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REVOKED_REASON } from '../../src/queue/failure.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { type Answer, call, ended, expectError, getTask, taskIn } from '../support/api.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { isGone } from '../support/processes.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, type TestWeb } from '../support/web.ts';

const RACES = 120;

describe.skipIf(!requireShared())('cancelling a task', () => {
  let web: TestWeb;
  const { post, holdLane } = objectTasks(() => web.url);
  const cancel = (taskId: string): Promise<Answer> => call(`${web.url}/api/task/${taskId}`, { method: 'DELETE' });

  beforeAll(async () => {
    web = await startWeb({ models: ['yolox_nano'], workers: ['object'] });
  });

  afterAll(async () => {
    await web.stop();
  });

  async function storedPath(taskId: string): Promise<string> {
    const data = await web.redis.client().hget(KEYS.job('object_detection', taskId), 'data');
    const { file } = JSON.parse(data ?? '') as { file: { name: string } };
    return join(web.folders.uploads, file.name);
  }

  function expectRevoked(answer: Answer): void {
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body.data).toMatchObject({ state: 'REVOKED' });
  }

  it('takes one that waits out of the queue at once, with its file', async () => {
    const lane = await holdLane();
    const running = await post();
    await taskIn(web.url, running, ['PROCESSING']);
    const waiting = await post();
    const path = await storedPath(waiting);
    expect(existsSync(path)).toBe(true);
    expect(await web.redis.client().exists(KEYS.file(parse(path).name))).toBe(1);
    const answer = await cancel(waiting);
    expectRevoked(answer);
    expect(answer.ms).toBeLessThan(1000);
    expect(await web.redis.client().exists(KEYS.job('object_detection', waiting))).toBe(0);
    expect(existsSync(path)).toBe(false);
    expect(await web.redis.client().exists(KEYS.file(parse(path).name))).toBe(0);
    expect(await getTask(web.url, waiting)).toMatchObject({ state: 'REVOKED', status: 'Cancelled', attempts: 0 });
    lane.release();
    expect((await ended(web.url, running)).state).toBe('SUCCESS');
  });

  it('ends one that runs, its process and its file, and frees the slot', async () => {
    const lane = await holdLane();
    const taskId = await post();
    await taskIn(web.url, taskId, ['PROCESSING']);
    // Long enough for it to have reached its process: one that is cancelled before leaves that alone.
    await sleep(300);
    const path = await storedPath(taskId);
    const answer = await cancel(taskId);
    expectRevoked(answer);
    expect(answer.ms).toBeLessThan(2500);
    expect(isGone(lane.pid)).toBe(true);
    expect(existsSync(path)).toBe(false);
    expect(await web.redis.client().exists(KEYS.file(parse(path).name))).toBe(0);
    expect(await getTask(web.url, taskId)).toMatchObject({ state: 'REVOKED', attempts: 1 });
    expect((await ended(web.url, await post())).state).toBe('SUCCESS');
    expect((await getTask(web.url, taskId)).state).toBe('REVOKED');
  });

  it('ends one that runs within 2 s even where the announcement does not arrive', async () => {
    const client = web.redis.client();
    for (let round = 0; round < 3; round++) {
      const lane = await holdLane();
      const taskId = await post();
      await taskIn(web.url, taskId, ['PROCESSING']);
      await sleep(300);
      const [answer] = await Promise.all([cancel(taskId), client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')]);
      expectRevoked(answer);
      await waitFor('the process to be gone', () => isGone(lane.pid), { timeoutMs: Math.max(1, 3000 - answer.ms) });
    }
    expect((await ended(web.url, await post())).state).toBe('SUCCESS');
  });

  it('takes one that waits for its next attempt', async () => {
    const lane = await holdLane();
    const taskId = await post();
    await taskIn(web.url, taskId, ['PROCESSING']);
    await sleep(300);
    lane.kill();
    await taskIn(web.url, taskId, ['RETRY']);
    expectRevoked(await cancel(taskId));
    expect((await getTask(web.url, taskId)).state).toBe('REVOKED');
    // Past the moment at which it would have been tried again.
    await sleep(2500);
    expect(await getTask(web.url, taskId)).toMatchObject({ state: 'REVOKED', attempts: 1 });
  });

  it('ends one that the worker had already been given', async () => {
    const client = web.redis.client();
    const lane = await holdLane();
    const running = await post();
    await taskIn(web.url, running, ['PROCESSING']);
    const taskId = await post();
    // As the last step of a cancellation that comes too late to take the task out of the queue.
    await client.set(KEYS.revoked(taskId), '{}', 'EX', 60);
    lane.release();
    const end = () => client.hmget(KEYS.job('object_detection', taskId), 'failedReason', 'returnvalue');
    await waitFor('the attempt to have ended', async () => (await end()).some((value) => value !== null));
    expect(await end()).toEqual([REVOKED_REASON, null]);
    expect((await ended(web.url, await post())).state).toBe('SUCCESS');
  });

  it('answers the same when repeated, and refuses what has ended or never was', async () => {
    const lane = await holdLane();
    const taskId = await post();
    const answers = await Promise.all([cancel(taskId), cancel(taskId), cancel(taskId)]);
    for (const answer of [...answers, await cancel(taskId)]) expectRevoked(answer);
    if (!isGone(lane.pid)) lane.release();
    const done = await post();
    await ended(web.url, done);
    expectError(await cancel(done), 409, 'TASK_FINISHED');
    expectError(await cancel('00000000-0000-4000-8000-000000000000'), 404, 'TASK_NOT_FOUND');
  });

  it(`agrees with what the task shows afterwards, ${RACES} times at the moment of its end`, async () => {
    const outcomes = { revoked: 0, finished: 0 };
    // How long a task takes, as the races themselves tell.
    let typicalMs = 100;
    for (let race = 0; race < RACES; race++) {
      const taskId = await post();
      await sleep(typicalMs * (0.5 + Math.random()));
      const watching = getTask(web.url, taskId);
      const answer = await cancel(taskId);
      const { state } = await getTask(web.url, taskId);
      if (answer.status === 200) {
        outcomes.revoked++;
        typicalMs *= 1.2;
        expect(state).toBe('REVOKED');
      } else {
        outcomes.finished++;
        typicalMs *= 0.8;
        expectError(answer, 409, 'TASK_FINISHED');
        expect(state).toBe('SUCCESS');
      }
      expect(['PENDING', 'PROCESSING', state]).toContain((await watching).state);
    }
    expect(outcomes.revoked).toBeGreaterThan(10);
    expect(outcomes.finished).toBeGreaterThan(10);
    const list = await call(`${web.url}/api/tasks?limit=200`);
    expect(list.text).not.toContain('"FAILURE"');
    // Every other race ends a detection process, and the next one has to load its model.
  }, 150_000);
});
