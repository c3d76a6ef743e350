import { hostname } from 'node:os';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  context,
  DiagLogLevel,
  diag,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
} from '@opentelemetry/sdk-trace-node';
import { BullMQOtel } from 'bullmq-otel';
import type { Logger } from '../log.ts';
import type { Collector, Tracing } from './tracing.ts';

const NAME = 'recognize';

/** What is left to be sent at the end is given up after so long, in ms. */
const STOP_MS = 1000;

/** A collector that is away is not worth a line more often than this, in ms. */
const WARN_EVERY_MS = 60_000;

/** Traces begin with a request or a task, never with a worker that looks for one. */
const requestsAndTasks: Sampler = {
  shouldSample: (_context, _traceId, _name, kind) => ({
    decision:
      kind === SpanKind.SERVER || kind === SpanKind.CONSUMER
        ? SamplingDecision.RECORD_AND_SAMPLED
        : SamplingDecision.NOT_RECORD,
  }),
  toString: () => 'requests and tasks',
};

function warnThrough(log: Logger): void {
  let warnedAt = Number.NEGATIVE_INFINITY;
  const warn = (message: string, ...details: unknown[]) => {
    if (performance.now() - warnedAt < WARN_EVERY_MS) return;
    warnedAt = performance.now();
    log.warn({ details: details.map(String) }, `traces: ${message}`);
  };
  const ignore = () => undefined;
  diag.setLogger({ error: warn, warn, info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.WARN);
}

/** See {@link startTracing}; once in a process. */
export function openTracing({ endpoint, headers }: Collector, service: string, log: Logger): Tracing {
  warnThrough(log);
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, headers });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({
      'service.name': service,
      'service.instance.id': `${hostname()}:${process.pid}`,
    }),
    sampler: new ParentBasedSampler({ root: requestsAndTasks }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 2000 })],
  });
  provider.register();
  const tracer = provider.getTracer(NAME);

  return {
    queue: new BullMQOtel({ tracerName: NAME }),
    request(method, headers) {
      const parent = propagation.extract(ROOT_CONTEXT, headers);
      const span = tracer.startSpan(method, { kind: SpanKind.SERVER }, parent);
      return {
        run: (within) => context.with(trace.setSpan(parent, span), within),
        end(route, status, requestId) {
          span.updateName(`${method} ${route}`);
          span.setAttributes({
            'http.request.method': method,
            'http.route': route,
            'http.response.status_code': status,
            'recognize.request_id': requestId,
          });
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        },
      };
    },
    span(name, attributes, work, stages) {
      return tracer.startActiveSpan(name, { attributes }, async (span) => {
        const startedAt = Date.now();
        try {
          const outcome = await work();
          let at = startedAt;
          for (const stage of stages(outcome)) {
            span.addEvent(stage.name, { 'recognize.ms': stage.ms }, at);
            at += stage.ms;
          }
          return outcome;
        } catch (error) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : '' });
          throw error;
        } finally {
          span.end();
        }
      });
    },
    async stop() {
      await Promise.race([provider.shutdown().catch(() => undefined), sleep(STOP_MS, undefined, { ref: false })]);
    },
  };
}
