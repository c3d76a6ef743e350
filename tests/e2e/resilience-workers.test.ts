import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { call, ended, getTask, submit, taskIn } from '../support/api.ts';
import { DOG_PATH, type Fleet, type Worker, withFleet } from '../support/fleet.ts';
import { signalAll } from '../support/lanes.ts';
import { isGone } from '../support/processes.ts';
import { startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const VIDEO_PATH = sharedPath('data/videos/people-one-by-one.mp4');

/** When the task of a dead worker is taken up again at the latest. */
const TAKE_UP_MS = 21_000;

/** Kills a worker under its task; answers when, once its detection processes are gone, too. */
async function kill9(worker: Worker): Promise<number> {
  const lanes = worker.lanes();
  const killedAt = Date.now();
  process.kill(worker.pid, 'SIGKILL');
  await waitFor('its detection processes to be gone', () => lanes.every(isGone), { timeoutMs: 6000 });
  return killedAt;
}

async function health(fleet: Fleet): Promise<{ workers: number }> {
  const { services } = (await call(`${fleet.url}/api/health`)).body.data as {
    services: Record<string, { workers: number }>;
  };
  return services.object_detection ?? { workers: Number.NaN };
}

async function waitForAttempt(fleet: Fleet, taskId: string, attempts: number): Promise<number> {
  const task = await waitFor(
    `attempt ${attempts}`,
    async () => {
      const current = await getTask(fleet.url, taskId);
      return current.attempts >= attempts ? current : undefined;
    },
    { timeoutMs: TAKE_UP_MS + 5000 },
  );
  // Long enough for a living detection process to have taken it.
  await sleep(400);
  return Date.parse(task.started_at ?? '');
}

/** A task whose first worker has died, now held by the second and only one. */
async function heldBySecond(fleet: Fleet): Promise<{ taskId: string; second: Worker }> {
  const first = await fleet.startWorker();
  first.freeze();
  const taskId = await fleet.postHeld();
  const second = await fleet.startWorker();
  second.freeze();
  await kill9(first);
  await waitForAttempt(fleet, taskId, 2);
  return { taskId, second };
}

/** Stops the detection process that runs a video. */
async function hangVideo(fleet: Fleet, worker: Worker, video: string): Promise<void> {
  await waitFor('the video to be under way', async () => (await getTask(fleet.url, video)).progress !== undefined);
  const done = async () => (await getTask(fleet.url, video)).progress?.done ?? 0;
  for (const pid of worker.lanes()) {
    process.kill(pid, 'SIGSTOP');
    // What it said before is still on its way.
    await sleep(700);
    const before = await done();
    await sleep(1500);
    if ((await done()) === before) return;
    process.kill(pid, 'SIGCONT');
  }
  throw new Error('No detection process runs the video.');
}

describe.skipIf(!requireShared())('a worker that is killed under its task', { concurrent: true }, () => {
  it('loses it to another worker, once', async () => {
    await withFleet(async (fleet) => {
      const first = await fleet.startWorker();
      first.freeze();
      const taskId = await fleet.postHeld();
      const second = await fleet.startWorker();
      const killedAt = await kill9(first);
      await waitFor('its heartbeat to run out', async () => (await health(fleet)).workers === 1, { timeoutMs: 15_000 });
      const takenUpAt = await waitForAttempt(fleet, taskId, 2);
      expect(takenUpAt - killedAt).toBeGreaterThan(7_000);
      expect(takenUpAt - killedAt).toBeLessThan(TAKE_UP_MS);
      const task = await fleet.ended(taskId);
      expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: 'object_worker_2' });
      // Its number is free at once for the next worker on this machine.
      await fleet.startWorker();
      expect(await fleet.redis.client().exists('{recognize}:worker:object_worker_1')).toBe(1);
      expect(await fleet.redis.client().exists('{recognize}:worker:object_worker_3')).toBe(0);
      expect(second.lanes()).toHaveLength(1);
    });
  });

  it('ends it in WORKER_LOST together with a second one, with nobody else to blame', async () => {
    await withFleet(async (fleet) => {
      const { taskId, second } = await heldBySecond(fleet);
      await kill9(second);
      await fleet.startWorker();
      const healthy = await fleet.post();
      const task = await fleet.ended(taskId);
      expect(task).toMatchObject({ state: 'FAILURE', error: { error_code: 'WORKER_LOST' } });
      expect(task.status).toBe(task.error?.message);
      expect(await fleet.ended(healthy)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    });
  });

  it('ends it in WORKER_LOST together with a detection process', async () => {
    await withFleet(async (fleet) => {
      const { taskId, second } = await heldBySecond(fleet);
      signalAll(second.lanes(), 'SIGKILL');
      const task = await fleet.ended(taskId);
      expect(task).toMatchObject({ state: 'FAILURE', attempts: 2, error: { error_code: 'WORKER_LOST' } });
      expect(await fleet.ended(await fleet.post())).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    });
  });

  it('is passed on to a slot that is kept for pictures while the other one runs a video', async () => {
    await withFleet(async (fleet) => {
      const first = await fleet.startWorker();
      first.freeze();
      const taskId = await fleet.postHeld();
      const survivor = await fleet.startWorker({ WORKER_CONCURRENCY: '2' });
      const video = await submit(fleet.url, 'object/video', {
        file: new Uint8Array(readFileSync(VIDEO_PATH)),
        fields: { frame_skip: '1' },
      });
      await hangVideo(fleet, survivor, video);
      await kill9(first);
      expect(await fleet.ended(taskId)).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: 'object_worker_2' });
      expect((await getTask(fleet.url, video)).state).toBe('PROCESSING');
      expect((await call(`${fleet.url}/api/task/${video}`, { method: 'DELETE' })).status).toBe(200);
    });
  });

  it('is started again by `npm start` under its old name and finishes the task itself', async () => {
    const service = await startService({ env: { WORKER_CONCURRENCY: '1', GRACE_PERIOD: '2' } });
    try {
      const file = new Uint8Array(readFileSync(DOG_PATH));
      const lanes = service.pids('lane');
      signalAll(lanes, 'SIGSTOP');
      const taskId = await submit(service.url, 'object/image', { file });
      await taskIn(service.url, taskId, ['PROCESSING']);
      await sleep(400);
      const [killed] = service.kill9('worker:object');
      await waitFor('its detection process to be gone', () => lanes.filter(isGone).length === 1, { timeoutMs: 6000 });
      signalAll(service.pids('lane'), 'SIGCONT');
      const task = await taskIn(service.url, taskId, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 });
      expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2, worker: 'object_worker_1' });
      expect(service.pids('worker:object')).not.toContain(killed);
      expect((await ended(service.url, await submit(service.url, 'face/image', { file }))).state).toBe('SUCCESS');
    } finally {
      await service.stop();
    }
  });
});
