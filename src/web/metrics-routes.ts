import type { Express, RequestHandler } from 'express';
import { Gauge } from 'prom-client';
import { queueUnavailable } from '../queue/failure.ts';
import { joinMetrics } from '../queue/metrics.ts';
import { requireMetricsAccess } from './access.ts';
import { addRoute } from './http.ts';
import type { HttpMetrics } from './http-metrics.ts';

/** Prometheus text of queues and workers, and their depths. */
export type QueueView = { metrics: () => Promise<string>; scaling: () => Promise<object> };

/** `GET /metrics` and, where there are queues, `GET /metrics/scaling`. */
export function addMetricsRoutes(
  app: Express,
  metrics: HttpMetrics,
  queueView: QueueView | undefined,
  token: string | undefined,
): void {
  const mayMeasure = requireMetricsAccess(token);
  const { registry } = metrics;
  const redisUp =
    queueView &&
    new Gauge({ name: 'recognize_redis_up', help: '1 where Redis answered this scrape', registers: [registry] });

  const exposition: RequestHandler = async (_request, response) => {
    // Without Redis this process still has something to tell, above all that Redis is away.
    const ofQueues = await queueView?.metrics().catch(() => undefined);
    redisUp?.set(ofQueues === undefined ? 0 : 1);
    response.type(registry.contentType).send(joinMetrics([await registry.metrics(), ofQueues ?? '']));
  };
  addRoute(app, '/metrics', { get: [mayMeasure, exposition] });

  if (queueView === undefined) return;
  const scaling: RequestHandler = async (_request, response) => {
    const depths = await queueView.scaling().catch((error: unknown) => {
      throw queueUnavailable(error);
    });
    response.json(depths);
  };
  addRoute(app, '/metrics/scaling', { get: [mayMeasure, scaling] });
}
