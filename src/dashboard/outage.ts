import type { Redis } from 'ioredis';

/** Whether an error says that Redis is away or hangs; what was asked for may then be done all the same. */
export function isOutage(error: unknown, redis: Redis): boolean {
  const message = error instanceof Error ? error.message : '';
  return redis.status !== 'ready' || /timed out|connection is closed|writeable|retries/i.test(message);
}
