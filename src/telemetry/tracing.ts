import type { IncomingHttpHeaders } from 'node:http';
import type { Telemetry } from 'bullmq';
import type { Logger } from '../log.ts';

export type SpanAttributes = Record<string, string | number | boolean>;

/** An OTLP collector: its base URL, e.g. `http://127.0.0.1:4318`, and HTTP headers that it wants to see. */
export type Collector = { endpoint: string; headers: Record<string, string> };

/** A part of a span, e.g. decoding, with the time that it took. */
export type Stage = { name: string; ms: number };

export type Tracing = {
  /** Carries a trace from who queues a task to who runs it. */
  queue: Telemetry;
  /**
   * A request, in the trace that its headers name or in a new one.
   *
   * @returns a function that calls another one within the span, and one that ends it
   */
  request(
    method: string,
    headers: IncomingHttpHeaders,
  ): { run(within: () => void): void; end(route: string, status: number, requestId: string): void };
  /** Work within whatever span is current; it fails where the work does. `stages` tells its parts, one after the other. */
  span<T>(
    name: string,
    attributes: SpanAttributes,
    work: () => Promise<T>,
    stages: (outcome: T) => readonly Stage[],
  ): Promise<T>;
  /** Sends what is left, for a second at most. */
  stop(): Promise<void>;
};

/**
 * Traces to an OTLP collector over HTTP; undefined, with nothing loaded, where there is none.
 *
 * @param service name that the traces show
 */
export async function startTracing(
  collector: Collector | undefined,
  service: string,
  log: Logger,
): Promise<Tracing | undefined> {
  if (collector === undefined) return undefined;
  const { openTracing } = await import('./open-tracing.ts');
  return openTracing(collector, service, log);
}
