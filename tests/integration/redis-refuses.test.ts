import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ended } from '../support/api.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { requireShared } from '../support/shared.ts';
import { startWeb, type TestWeb } from '../support/web.ts';

const PICTURES = 60;

describe.skipIf(!requireShared())('while Redis answers but takes no writes', () => {
  let web: TestWeb;
  let redis: Redis;
  const { post } = objectTasks(() => web.url);

  beforeAll(async () => {
    web = await startWeb({ models: ['yolox_nano'], workers: ['object'] });
    redis = web.redis.client();
  });

  afterAll(async () => {
    await web.stop();
  });

  it.each([
    ['has no memory left', 'maxmemory', '1000kb', 6000],
    // Longer than the locks of tasks last.
    ['has too few replicas', 'min-replicas-to-write', '1', 18_000],
  ])(
    'no task fails because it %s, and none counts an attempt for it',
    async (_, setting, refusing, refusedMs) => {
      const taskIds = await Promise.all(Array.from({ length: PICTURES }, () => post({ annotate: 'false' })));
      await redis.config('SET', setting, refusing);
      const cpuBefore = process.cpuUsage();
      await sleep(refusedMs);
      const { user, system } = process.cpuUsage(cpuBefore);
      await redis.config('SET', setting, '0');
      const tasks = await Promise.all(taskIds.map((taskId) => ended(web.url, taskId)));
      expect(new Set(tasks.map(({ state, attempts }) => `${state} ${attempts}`))).toEqual(new Set(['SUCCESS 1']));
      // Web and worker live in this process; they must not spin.
      expect((user + system) / 1000).toBeLessThan(refusedMs / 2);
    },
    120_000,
  );
});
