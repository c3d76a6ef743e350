import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

it('keeps data over a kill -9 and evicts nothing', async () => {
  await redis.client().set('kept', '1');
  await redis.kill9();
  await redis.restart();
  expect(await redis.client().get('kept')).toBe('1');
  expect(await redis.client().config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  expect(existsSync(redis.socket)).toBe(true);
});
