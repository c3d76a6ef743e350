import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beat, signOff } from '../../src/queue/heartbeat.ts';
import { noteDepth, readMinutes, totalsOf } from '../../src/queue/history.ts';
import { createHistoryReader } from '../../src/queue/history-reader.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { liveMetrics } from '../../src/queue/live-metrics.ts';
import { openQueues, type Queues } from '../../src/queue/queues.ts';
import { readRedisMemory } from '../../src/queue/redis-memory.ts';
import { readStatistics } from '../../src/queue/statistics.ts';
import { call, ended, submit } from '../support/api.ts';
import { heartbeatOf } from '../support/heartbeats.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, storedIn, type TestWeb } from '../support/web.ts';

const QUEUE = 'object_detection';

describe.skipIf(!requireShared())('what is kept of the minutes of a queue', () => {
  const dog = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')));
  let web: TestWeb;
  let redis: Redis;
  let queues: Queues;

  beforeAll(async () => {
    // Web keeps house every two seconds.
    web = await startWeb({ models: ['yolox_nano'], workers: [], env: { UPLOAD_TTL: '8', RESULT_TTL: '8' } });
    redis = web.redis.client();
    await waitFor('Redis', () => redis.status === 'ready');
    queues = openQueues(redis);
  });

  afterAll(async () => {
    await queues?.object.close();
    await queues?.face.close();
    await web?.stop();
  });

  const post = () => submit(web.url, 'object/image', { file: dog });
  /** All that came together, whichever minute it is by now. */
  const totals = () => createHistoryReader(redis).totals(QUEUE, 60);

  it('web notes how many tasks wait where there is no worker, and a cancelled one as a worker would', async () => {
    const [first, second] = [await post(), await post()];
    await waitFor('the next minutes', async () => {
      // As if a minute were over.
      const keys = await redis.keys(KEYS.history(QUEUE, 0).replace(/0$/, '*'));
      for (const key of keys) if ((await redis.hget(key, 'd')) !== '2') await redis.hdel(key, 'd');
      return (await totals()).waiting === 2;
    });
    for (const taskId of [first, second])
      expect((await call(`${web.url}/api/task/${taskId}`, { method: 'DELETE' })).status).toBe(200);
    expect((await totals()).revoked).toBe(2);
    expect((await readStatistics(redis, QUEUE)).counters.revoked).toBe(2);
  });

  it('is noted once by whoever comes first', async () => {
    const minute = await noteDepth(redis, 'face_detection', Number.NaN);
    await redis.hset(KEYS.history('face_detection', minute), 'd', 77);
    await noteDepth(redis, 'face_detection', Number.NaN);
    const [fields = {}] = await readMinutes(redis, 'face_detection', minute, minute);
    expect(totalsOf([fields]).waiting).toBe(77);
  });

  it('times of failed tasks are among the percentiles, not among the histograms', async () => {
    const taskId = await post();
    for (const name of storedIn(web.folders)) await rm(join(web.folders.uploads, name));
    const worker = await startWorker('object', web.folders, web.env);
    try {
      expect((await ended(web.url, taskId)).state).toBe('FAILURE');
      const { wait, run, failed, succeeded } = await waitFor('the minute', async () => {
        const found = await totals();
        return found.failed === 1 ? found : undefined;
      });
      expect(succeeded).toBe(0);
      expect(wait.p50).toBeGreaterThan(0);
      expect(run.p50).toBeGreaterThan(0);
      expect(failed).toBe(1);
      const { histograms, counters } = await readStatistics(redis, QUEUE);
      expect([histograms.wait, histograms.run, counters.failed]).toEqual([[], [], 1]);
    } finally {
      await worker.stop();
    }
  });

  it('no more slots are busy than are counted: those of workers that drain are neither', async () => {
    const current = [{ task_id: 'x', started_at: Date.now() }];
    await beat(redis, heartbeatOf({ name: 'face_worker_1', current }));
    await beat(redis, heartbeatOf({ name: 'face_worker_2', state: 'draining', current: [...current, ...current] }));
    const text = await liveMetrics(redis, queues);
    for (const name of ['face_worker_1', 'face_worker_2']) await signOff(redis, name);
    expect(text).toMatch(/^recognize_slots\{queue="face_detection"\} 2$/m);
    expect(text).toMatch(/^recognize_slots_busy\{queue="face_detection"\} 1$/m);
    expect(text).toMatch(/^recognize_workers_online\{queue="face_detection"\} 2$/m);
  });

  it('a Redis that does not tell its memory costs nothing but those figures', async () => {
    await redis.call('ACL', 'SETUSER', 'managed', 'on', '>secret', '~*', '&*', '+@all', '-info');
    const managed = new Redis({
      path: web.redis.socket,
      username: 'managed',
      password: 'secret',
      enableReadyCheck: false,
    });
    try {
      expect(await readRedisMemory(managed)).toEqual({ usedBytes: undefined, limitBytes: undefined });
      expect(await liveMetrics(managed, queues)).toContain('recognize_slots');
    } finally {
      managed.disconnect();
    }
    const { usedBytes = 0, limitBytes = 0 } = await readRedisMemory(redis);
    expect(usedBytes).toBeGreaterThan(100_000);
    expect(limitBytes).toBeGreaterThan(usedBytes);
  });
});
