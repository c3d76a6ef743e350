import { describe, expect, it } from 'vitest';
import { getTask } from '../support/api.ts';
import { type Fleet, withFleet } from '../support/fleet.ts';
import { serviceProcesses } from '../support/processes.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const GRACE_S = 4;
const GRACE = { GRACE_PERIOD: String(GRACE_S) };
/** Where nobody is to wait for the end of it. */
const LONG_GRACE = { GRACE_PERIOD: '12' };

function workerProcesses(fleet: Fleet) {
  return serviceProcesses(fleet.home.root).filter(({ command }) => /worker:|\/lanes\//.test(command));
}

describe.skipIf(!requireShared())('a worker that gets a signal', { concurrent: true }, () => {
  it('hands back what it cannot finish on SIGINT to its whole group, to SIGTERM just the same', async () => {
    await withFleet(async (fleet) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        const worker = await fleet.startWorker();
        worker.freeze();
        const taskId = await fleet.postHeld();
        const exit = await worker.stop(signal);
        expect(exit).toMatchObject({ code: 0, signal: null });
        expect(exit.ms).toBeGreaterThan(GRACE_S * 1000 - 50);
        expect(exit.ms).toBeLessThan(GRACE_S * 1000 + 3000);
        expect(workerProcesses(fleet)).toEqual([]);
        expect(await getTask(fleet.url, taskId)).toMatchObject({ state: 'PENDING', position: 1 });
        const next = await fleet.startWorker();
        expect(await fleet.ended(taskId)).toMatchObject({ state: 'SUCCESS', attempts: 2 });
        await next.stop();
      }
    }, GRACE);
  });

  it('finishes what runs, and its detection process lives as long', async () => {
    await withFleet(async (fleet) => {
      const worker = await fleet.startWorker();
      worker.freeze();
      const taskId = await fleet.postHeld();
      setTimeout(worker.thaw, 700);
      const exit = await worker.stop('SIGINT');
      expect(exit.code).toBe(0);
      expect(exit.ms).toBeLessThan(8000);
      expect(await getTask(fleet.url, taskId)).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    }, LONG_GRACE);
  });

  it('ends in time while Redis is away, at work and idle', async () => {
    await withFleet(async (fleet) => {
      const [busy, idle] = await Promise.all([fleet.startWorker(), fleet.startWorker()]);
      busy.freeze();
      idle.freeze();
      const taskId = await fleet.postHeld();
      const holder = (await getTask(fleet.url, taskId)).worker;
      await fleet.redis.kill9();
      const exits = await Promise.all([busy.stop('SIGTERM'), idle.stop('SIGTERM')]);
      expect(exits.map(({ code }) => code)).toEqual([0, 0]);
      const [shorter = 0, longer = 0] = exits.map(({ ms }) => ms).sort((a, b) => a - b);
      expect(shorter).toBeLessThan(GRACE_S * 1000);
      expect(longer).toBeLessThan(GRACE_S * 1000 + 3000);
      expect(workerProcesses(fleet)).toEqual([]);
      await fleet.redis.restart();
      await waitFor('web to have Redis again', async () => (await fetch(`${fleet.url}/api/health`)).status === 200);
      const next = await fleet.startWorker();
      expect(holder).toMatch(/^object_worker_[12]$/);
      expect((await fleet.ended(taskId)).state).toBe('SUCCESS');
      await next.stop();
    }, GRACE);
  });

  it('ends at once while it still waits for Redis', async () => {
    await withFleet(async (fleet) => {
      await fleet.redis.kill9();
      const starting = fleet.startWorker();
      starting.catch(() => undefined);
      const entry = await waitFor('the process', () => workerProcesses(fleet)[0], { timeoutMs: 5000 });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      process.kill(entry.pid, 'SIGTERM');
      await waitFor('it to be gone', () => workerProcesses(fleet).length === 0, { timeoutMs: 2000 });
      await expect(starting).rejects.toThrow('ended at its start');
    }, GRACE);
  });
});
