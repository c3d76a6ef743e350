import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { ended } from '../support/api.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { requireShared } from '../support/shared.ts';
import { startWebOn } from '../support/web.ts';

const QUEUE = 'object_detection';

describe.skipIf(!requireShared())("BullMQ's stream of events", () => {
  let server: TestRedis;
  let service: Awaited<ReturnType<typeof startWebOn>>;
  const { post } = objectTasks(() => service.url);

  beforeAll(async () => {
    server = await startRedis();
    const redis = server.client();
    // As an earlier version has left it.
    await redis.hset(KEYS.meta(QUEUE), 'opts.maxLenEvents', 10_000);
    for (let entry = 0; entry < 500; entry++)
      await redis.xadd(KEYS.events(QUEUE), '*', 'event', 'completed', 'returnvalue', 'a result');
    service = await startWebOn({ REDIS_URL: server.url }, ['yolox_nano'], ['object']);
  });

  afterAll(async () => {
    await service.stop();
    await server.stop();
  });

  it('keeps no results, neither old nor new ones', async () => {
    const redis = server.client();
    for (let task = 0; task < 5; task++) {
      expect(await ended(service.url, await post({ annotate: 'false' }))).toMatchObject({ state: 'SUCCESS' });
    }
    const entries = (await redis.xrange(KEYS.events(QUEUE), '-', '+')) as [id: string, fields: string[]][];
    expect(entries.length).toBeLessThan(10);
    // The last one goes with the next event, or within a minute.
    expect(entries.filter(([, fields]) => fields.includes('returnvalue')).length).toBeLessThanOrEqual(1);
    expect(await redis.hget(KEYS.meta(QUEUE), 'opts.maxLenEvents')).toBe('0');
  });
});
