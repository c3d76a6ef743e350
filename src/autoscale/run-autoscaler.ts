import { KIND_NAMES } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { openQueues } from '../queue/queues.ts';
import { connected, connectFailFast, disconnect, type RedisSettings } from '../queue/redis.ts';
import { type Driver, startAutoscaler } from './autoscaler.ts';
import { createFigureReader } from './figures.ts';
import type { AutoscaleRules } from './policy.ts';

/** How long the first look waits for Redis, in ms. */
const PATIENCE_MS = 3000;

/** Runs the rules over a connection of their own until they are stopped; workers stay as they are then. */
export async function runAutoscaler(
  redisSettings: RedisSettings,
  rules: AutoscaleRules,
  driver: Driver,
  log: Logger,
): Promise<{ stop(): Promise<void> }> {
  const redis = connectFailFast(redisSettings, log);
  const queues = openQueues(redis);
  await connected(redis, PATIENCE_MS);
  const autoscaler = startAutoscaler(rules, createFigureReader(redis, queues), driver, log);
  log.info({ timezone: rules.timezone, kinds: Object.keys(rules.workers) }, 'autoscaling');
  return {
    async stop() {
      await autoscaler.stop();
      await Promise.all(KIND_NAMES.map((kind) => queues[kind].close().catch(() => undefined)));
      await disconnect(redis);
    },
  };
}
