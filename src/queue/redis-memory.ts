import type { Redis } from 'ioredis';

export type RedisMemory = {
  usedBytes: number;
  /** What it may use: `maxmemory`, or where that is unset all that its machine has. */
  limitBytes: number;
};

function parse(info: string): RedisMemory {
  const number = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return { usedBytes: number('used_memory'), limitBytes: number('maxmemory') || number('total_system_memory') };
}

/** How much memory Redis has taken. */
export async function readRedisMemory(redis: Redis): Promise<RedisMemory> {
  return parse(await redis.info('memory'));
}
