import { createHash } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import type { Redis } from 'ioredis';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { addressGroup } from '../address-group.ts';
import { AppError } from '../errors.ts';
import { queueUnavailable } from '../queue/failure.ts';
import { KEYS } from '../queue/keys.ts';
import { bringsToken, isOwnMachine } from '../telemetry/metrics-access.ts';

declare module 'express-serve-static-core' {
  interface Request {
    /** Name of the API key that the request came with, null where keys are off. */
    owner: string | null;
    id: string;
  }
}

const digest = (text: string) => createHash('sha256').update(text).digest('hex');

function presentedKey(request: Request): string | undefined {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(request.get('authorization') ?? '')?.[1];
  return bearer ?? (request.get('x-api-key') || undefined);
}

/** Lets only known API keys pass and notes whose it was; without configured keys everybody passes. */
export function requireApiKey(keys: readonly { name: string; key: string }[]): RequestHandler {
  // Keys are looked up by their digest: neither content nor length of a key shows in the time it takes.
  const names = new Map(keys.map(({ name, key }) => [digest(key), name]));
  return (request, response, next) => {
    request.owner = null;
    if (names.size === 0) return next();
    const key = presentedKey(request);
    const name = key === undefined ? undefined : names.get(digest(key));
    if (name === undefined) {
      response.set('WWW-Authenticate', 'Bearer');
      throw new AppError(
        'UNAUTHORIZED',
        'This needs a valid API key, as `Authorization: Bearer <key>` or `X-API-Key`.',
      );
    }
    request.owner = name;
    next();
  };
}

/** True for a caller on this machine; behind proxies only as far as TRUST_PROXY says which to believe. */
export function isLoopback(request: Request): boolean {
  return isOwnMachine(request.headers, request.ip ?? '', Number(request.app.get('trust proxy') ?? 0) > 0);
}

/** Metrics are for callers on this machine and for those who know the token. */
export function requireMetricsAccess(token: string | undefined): RequestHandler {
  return (request, _response, next) => {
    if (bringsToken(request.headers, token) || isLoopback(request)) return next();
    throw new AppError('FORBIDDEN', 'Metrics are for callers on this machine or with METRICS_TOKEN as bearer token.');
  };
}

/** So many points within so many seconds. */
type Limit = { points: number; seconds: number };

/** Counts in Redis for all web processes together, or for this one alone where there is none. */
function createLimiter({ points, seconds }: Limit, redis: Redis | undefined): RateLimiterAbstract {
  const options = { points, duration: seconds, keyPrefix: KEYS.rateLimit() };
  return redis === undefined
    ? new RateLimiterMemory(options)
    : new RateLimiterRedis({ ...options, storeClient: redis });
}

/** At most so many detections per key, else per address; counted in Redis for all web processes together. */
export function limitRate(limit: Limit | undefined, redis: Redis | undefined): RequestHandler {
  if (limit === undefined) return (_request, _response, next) => next();
  const limiter = createLimiter(limit, redis);
  return async (request, response, next) => {
    const headers = (state: RateLimiterRes) =>
      response.set({
        'RateLimit-Limit': String(limit.points),
        'RateLimit-Remaining': String(Math.max(0, state.remainingPoints)),
        'RateLimit-Reset': String(Math.ceil(state.msBeforeNext / 1000)),
      });
    try {
      headers(
        await limiter.consume(request.owner === null ? `ip:${addressGroup(request.ip ?? '')}` : `key:${request.owner}`),
      );
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw queueUnavailable(error);
      headers(error);
      throw new AppError('RATE_LIMITED', 'Too many requests. Try again later.', {
        retryAfterSeconds: Math.max(1, Math.ceil(error.msBeforeNext / 1000)),
      });
    }
    next();
  };
}
