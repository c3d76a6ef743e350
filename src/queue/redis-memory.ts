import type { Redis } from 'ioredis';

export type RedisMemory = {
  usedBytes: number | undefined;
  /** What it may use: `maxmemory`, or where that is unset all that its machine has. */
  limitBytes: number | undefined;
};

/** How much memory Redis has taken; nothing where a managed service does not tell. */
export async function readRedisMemory(redis: Redis): Promise<RedisMemory> {
  const info = await redis.info('memory').catch((error: Error) => {
    if (error.name === 'ReplyError') return '';
    throw error;
  });
  const number = (field: string) => {
    const text = new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1];
    return text === undefined ? undefined : Number(text);
  };
  return { usedBytes: number('used_memory'), limitBytes: number('maxmemory') || number('total_system_memory') };
}
