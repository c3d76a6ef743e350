import type { RequestHandler } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { endedChildrenCpuSeconds } from '../telemetry/child-cpu.ts';
import { addDiskGauges } from '../telemetry/disk-gauges.ts';

export type HttpMetrics = { registry: Registry; measure: RequestHandler };

/** Label of requests for which there is no route: their paths would make a series each. */
const NO_ROUTE = '(none)';

/**
 * Counts and times every request by method, route and status.
 *
 * @param folders whose disks are measured, by name
 */
export function createHttpMetrics(folders: Readonly<Record<string, string>>): HttpMetrics {
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
  const uploaded = new Counter({
    name: 'recognize_upload_bytes_total',
    help: 'Bytes of received files',
    labelNames: ['route'],
    registers: [registry],
  });
  const inFlight = new Gauge({
    name: 'recognize_http_requests_in_flight',
    help: 'Requests that are being answered',
    registers: [registry],
  });
  new Counter({
    name: 'recognize_web_ffprobe_seconds_total',
    help: 'CPU seconds that ffprobe took to look at uploaded videos',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(endedChildrenCpuSeconds());
    },
  });
  addDiskGauges(registry, folders);
  return {
    registry,
    measure(request, response, next) {
      const start = performance.now();
      inFlight.inc();
      response.once('close', () => {
        inFlight.dec();
        const route = response.locals.route ?? NO_ROUTE;
        duration.observe(
          { method: request.method, route, code: response.statusCode },
          (performance.now() - start) / 1000,
        );
        const bytes = Number(request.get('content-length') ?? 0);
        if (bytes > 0) received.inc({ route }, bytes);
        if (request.file !== undefined) uploaded.inc({ route }, request.file.size);
      });
      next();
    },
  };
}
