import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { call, expectError, getTask, post, taskIn } from '../support/api.ts';
import { DOG_PATH, type Fleet, withFleet } from '../support/fleet.ts';
import { signalAll } from '../support/lanes.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const OUTAGE_MS = 20_000;

const storedFiles = (fleet: Fleet) =>
  readdirSync(join(fleet.home.root, 'data/uploads'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );

/** How often detection processes or workers are held to have died under a task. */
async function lossesOf(fleet: Fleet, taskId: string): Promise<number> {
  return Number(await fleet.redis.client().hget(KEYS.job('object_detection', taskId), 'losses'));
}

describe.skipIf(!requireShared())('Redis', { concurrent: true }, () => {
  it('killed and started again at once loses no task, whether it waits, runs or has ended', async () => {
    await withFleet(async (fleet) => {
      const worker = await fleet.startWorker();
      const done = await Promise.all(Array.from({ length: 5 }, () => fleet.post()));
      const results = await Promise.all(done.map((taskId) => fleet.ended(taskId)));
      worker.freeze();
      const running = await fleet.postHeld();
      const waiting = await Promise.all(
        Array.from({ length: 20 }, (_, index) => fleet.post({ priority: `${index % 10}` })),
      );
      for (let round = 0; round < 3; round++) {
        await fleet.redis.kill9();
        await fleet.redis.restart();
        const shown = await waitFor('web to have Redis again', () => getTask(fleet.url, done[0] ?? ''));
        expect(shown).toEqual(results[0]);
        await sleep(500);
      }
      worker.thaw();
      for (const taskId of [running, ...waiting]) {
        expect(await fleet.ended(taskId)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
      }
      for (const result of results) expect(await getTask(fleet.url, result.task_id)).toEqual(result);
    });
  });

  it('killed again and again under load: everything that was accepted ends, nothing is given up', async () => {
    await withFleet(async (fleet) => {
      await Promise.all([fleet.startWorker(), fleet.startWorker()]);
      const accepted: string[] = [];
      let posting = true;
      const file = new Uint8Array(readFileSync(DOG_PATH));
      const posts = Array.from({ length: 3 }, async () => {
        while (posting) {
          const answer = await post(fleet.url, 'object/image', { file });
          if (answer.status === 202) accepted.push(String(answer.body.data.task_id));
          else {
            expectError(answer, 503, 'QUEUE_UNAVAILABLE');
            expect(answer.ms).toBeLessThan(3000);
            await sleep(100);
          }
        }
      });
      for (let round = 0; round < 4; round++) {
        await sleep(700 + round * 130);
        await fleet.redis.kill9();
        await sleep(round * 400);
        await fleet.redis.restart();
      }
      await sleep(500);
      posting = false;
      await Promise.all(posts);
      expect(accepted.length).toBeGreaterThan(20);
      const states = new Map<string, number>();
      for (const taskId of accepted) {
        const { state, error } = await fleet.ended(taskId);
        const key = error === undefined ? state : `${state} ${error.error_code}`;
        states.set(key, (states.get(key) ?? 0) + 1);
      }
      expect([...states]).toEqual([['SUCCESS', accepted.length]]);
      // What was answered 503 has left nothing behind.
      await waitFor('no file but those of accepted tasks', () => storedFiles(fleet).length === accepted.length);
    });
  });

  it(`away for ${OUTAGE_MS / 1000} s costs running tasks nothing, and work goes on within seconds of its return`, async () => {
    await withFleet(async (fleet) => {
      // One after the other: names are given in the order of starts.
      const first = await fleet.startWorker();
      const second = await fleet.startWorker();
      first.freeze();
      second.freeze();
      const [through, during] = [await fleet.postHeld(), await fleet.postHeld()];
      const holder = (await getTask(fleet.url, through)).worker;
      const [holdsThrough, holdsDuring] = holder === 'object_worker_1' ? [first, second] : [second, first];
      await fleet.redis.kill9();
      await sleep(OUTAGE_MS / 2);
      // This one ends while nobody can be told.
      holdsDuring.thaw();
      const refused = await post(fleet.url, 'object/image', { file: new Uint8Array(readFileSync(DOG_PATH)) });
      expectError(refused, 503, 'QUEUE_UNAVAILABLE');
      await sleep(OUTAGE_MS / 2);
      await fleet.redis.restart();
      const backAt = performance.now();
      const fresh = await waitFor('web to accept tasks again', async () => {
        const answer = await post(fleet.url, 'object/image', { file: new Uint8Array(readFileSync(DOG_PATH)) });
        return answer.status === 202 ? String(answer.body.data.task_id) : undefined;
      });
      await taskIn(fleet.url, fresh, ['SUCCESS']);
      expect(performance.now() - backAt).toBeLessThan(6000);
      expect(await fleet.ended(during)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
      // Two looks for stalled tasks later it still runs where it ran.
      await sleep(11_000);
      expect(await getTask(fleet.url, through)).toMatchObject({ state: 'PROCESSING', attempts: 1, worker: holder });
      expect(await lossesOf(fleet, through)).toBe(0);
      // One real death after the outage is forgiven as ever.
      signalAll(holdsThrough.lanes(), 'SIGKILL');
      expect(await fleet.ended(through)).toMatchObject({ state: 'SUCCESS', attempts: 2 });
    });
  });

  it('hanging for longer than locks last costs no task', async () => {
    await withFleet(async (fleet) => {
      const [first, second] = await Promise.all([fleet.startWorker(), fleet.startWorker()]);
      first.freeze();
      second.freeze();
      const taskIds = [await fleet.postHeld(), await fleet.postHeld()];
      process.kill(fleet.redis.pid(), 'SIGSTOP');
      const refused = await post(fleet.url, 'object/image', { file: new Uint8Array(readFileSync(DOG_PATH)) });
      expectError(refused, 503, 'QUEUE_UNAVAILABLE');
      expect(refused.ms).toBeLessThan(2500);
      await sleep(OUTAGE_MS);
      process.kill(fleet.redis.pid(), 'SIGCONT');
      await sleep(8000);
      for (const taskId of taskIds) expect(await lossesOf(fleet, taskId)).toBe(0);
      first.thaw();
      second.thaw();
      for (const taskId of taskIds) expect((await fleet.ended(taskId)).state).toBe('SUCCESS');
      const health = await call(`${fleet.url}/api/health`);
      expect(health.text).toContain('"busy":0');
      // The upload that was refused while Redis hung is gone, file and task.
      await waitFor('two files to be left', () => storedFiles(fleet).length === 2);
      await waitFor('two tasks to be left', async () => {
        const counts = await fleet.redis.client().zcard('{recognize}:object_detection:completed');
        return counts === 2;
      });
    });
  });
});
