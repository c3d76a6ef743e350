import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readScaling } from '../../src/queue/metrics.ts';
import { openQueues, type Queues } from '../../src/queue/queues.ts';
import { connectPatient, disconnect } from '../../src/queue/redis.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

let server: TestRedis;
let queues: Queues;
let redis: ReturnType<typeof connectPatient>;
beforeAll(async () => {
  server = await startRedis();
  redis = connectPatient({ url: server.url, caFile: undefined }, pino({ level: 'silent' }));
  queues = openQueues(redis);
});
afterAll(async () => {
  await Promise.all([queues.face.close(), queues.object.close()]);
  await disconnect(redis);
  await server.stop();
});

it('the depth is what waits, what is prioritised, what runs and what is due, not what is to be tried later', async () => {
  const add = (options: object) => queues.face.add('image', {}, { jobId: crypto.randomUUID(), ...options });
  await add({ priority: 9, timestamp: Date.now() - 30_000 });
  await add({ priority: 20, timestamp: Date.now() - 10_000 });
  await add({});
  await add({ priority: 9, delay: 5 });
  await add({ priority: 9, delay: 600_000 });
  await sleep(50);
  const { face_detection, object_detection } = (await readScaling(redis, queues)).queues;
  expect(face_detection).toMatchObject({ depth: 4, waiting: 1, prioritized: 2, active: 0, delayed_due: 1 });
  expect(face_detection.oldest_waiting_s).toBeGreaterThanOrEqual(30);
  expect(face_detection.oldest_waiting_s).toBeLessThan(60);
  expect(object_detection).toEqual({
    depth: 0,
    waiting: 0,
    prioritized: 0,
    active: 0,
    delayed_due: 0,
    oldest_waiting_s: 0,
  });
});
