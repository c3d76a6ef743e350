import type { Redis } from 'ioredis';
import { AppError } from '../errors.ts';

/** Whether an error says that Redis is away or hangs; what was asked for may then be done all the same. */
export function isOutage(error: unknown, redis: Redis): boolean {
  const message = error instanceof Error ? error.message : '';
  return redis.status !== 'ready' || /timed out|connection is closed|writeable|retries/i.test(message);
}

/** What a page gets that needs Redis. */
export const unavailable = (cause?: unknown) =>
  new AppError('QUEUE_UNAVAILABLE', 'Redis does not answer at the moment. This page tries again by itself.', {
    retryAfterSeconds: 5,
    cause,
  });
