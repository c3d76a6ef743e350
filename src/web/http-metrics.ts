import type { RequestHandler } from 'express';
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export type HttpMetrics = { registry: Registry; measure: RequestHandler };

/** Ids and names in a path would make a series each. */
function routeOf(path: string): string {
  return path
    .replace(/^\/api\/task\/[^/]+/, '/api/task/:id')
    .replace(/^\/api\/uploads\/.*/, '/api/uploads/:name')
    .replace(/^\/docs\/.*/, '/docs/*');
}

/** Counts and times every request by method, route and status. */
export function createHttpMetrics(): HttpMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'recognize_web_' });
  const duration = new Histogram({
    name: 'recognize_http_request_seconds',
    help: 'Seconds from a request to the end of its answer',
    labelNames: ['method', 'route', 'code'],
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
    registers: [registry],
  });
  const received = new Counter({
    name: 'recognize_http_request_bytes_total',
    help: 'Bytes of request bodies as announced',
    labelNames: ['route'],
    registers: [registry],
  });
  return {
    registry,
    measure(request, response, next) {
      const start = performance.now();
      // Routers change `path` while a request is with them.
      const path = request.path;
      response.once('close', () => {
        const known =
          response.statusCode === 404 && !path.startsWith('/api/task/') && !path.startsWith('/api/uploads/');
        const route = known ? '(none)' : routeOf(path);
        duration.observe(
          { method: request.method, route, code: response.statusCode },
          (performance.now() - start) / 1000,
        );
        const bytes = Number(request.get('content-length') ?? 0);
        if (bytes > 0) received.inc({ route }, bytes);
      });
      next();
    },
  };
}
