import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { getTask, taskIn } from '../support/api.ts';
import { DOG_PATH } from '../support/fleet.ts';
import { startService } from '../support/service.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const VICTIMS = ['lane', 'web', 'redis', 'worker:object', 'dashboard', 'lane', 'redis', 'web'] as const;

describe.skipIf(!requireShared())('the whole service', () => {
  it('ends every task that it accepted while one after the other of its processes is killed', async () => {
    const service = await startService({ env: { WORKER_CONCURRENCY: '2', GRACE_PERIOD: '2' } });
    const picture = new Uint8Array(readFileSync(DOG_PATH));
    const accepted: string[] = [];
    let posting = true;

    async function postOne(): Promise<void> {
      const form = new FormData();
      form.append('file', new Blob([picture]), 'dog.jpg');
      const response = await fetch(`${service.url}/api/detect/object/image`, { method: 'POST', body: form });
      const { data } = (await response.json()) as { data: { task_id: string } };
      if (response.status === 202) accepted.push(data.task_id);
      else expect(response.status).toBe(503);
    }

    try {
      const posts = (async () => {
        while (posting) {
          // Web may be the one that has just been killed.
          await postOne().catch((error: unknown) => {
            if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
          });
          await sleep(60);
        }
      })();
      for (const victim of VICTIMS) {
        await sleep(1000);
        expect(service.kill9(victim), victim).not.toEqual([]);
        await waitFor(`${victim} to be back`, () => service.pids(victim).length > 0, { timeoutMs: 20_000 });
      }
      await sleep(1000);
      posting = false;
      await posts;
      expect(accepted.length).toBeGreaterThan(20);
      await waitFor('web', () => getTask(service.url, accepted[0] ?? ''), { timeoutMs: 20_000, intervalMs: 200 });
      for (const taskId of accepted) {
        const task = await taskIn(service.url, taskId, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs: 60_000 });
        expect(task, JSON.stringify(task)).toMatchObject({ state: 'SUCCESS' });
      }
    } finally {
      const { code } = await service.stop();
      expect(code).toBe(0);
    }
    expect(service.processes()).toEqual([]);
  });
});
