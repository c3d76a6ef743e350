import type { Redis } from 'ioredis';
import type { ScalingView } from '../contract/answers.ts';
import { KIND_NAMES, KINDS } from '../contract/kinds.ts';
import { queueDepth } from './depth.ts';
import { liveMetrics } from './live-metrics.ts';
import type { Queues } from './queues.ts';
import { storedMetrics } from './stored-metrics.ts';

/** What an autoscaler needs to know of every queue. */
export async function readScaling(redis: Redis, queues: Queues): Promise<ScalingView> {
  const depths = await Promise.all(
    KIND_NAMES.map(async (kind) => [KINDS[kind].queue, await queueDepth(redis, queues, kind)] as const),
  );
  return { queues: Object.fromEntries(depths) as ScalingView['queues'] };
}

/** One Prometheus text of several; prom-client writes "Nan" where the format says "NaN". */
export function joinMetrics(parts: readonly string[]): string {
  return parts.map((part) => `${part.trimEnd().replaceAll(/ Nan$/gm, ' NaN')}\n`).join('');
}

/** Prometheus text of queues, workers, tasks and Redis; the same on web and dashboard. */
export async function queueMetrics(redis: Redis, queues: Queues): Promise<string> {
  return joinMetrics(await Promise.all([liveMetrics(redis, queues), storedMetrics(redis)]));
}
