import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

type Value = { stringValue?: string; intValue?: number | string; doubleValue?: number };
type Attribute = { key: string; value: Value };

export type Span = {
  service: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  attributes: Record<string, string | number | undefined>;
  events: string[];
  failed: boolean;
  startedAt: bigint;
};

type Exported = {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: {
      spans: {
        traceId: string;
        spanId: string;
        parentSpanId?: string;
        name: string;
        attributes: Attribute[];
        events: { name: string }[];
        status: { code?: number };
        startTimeUnixNano: string;
      }[];
    }[];
  }[];
};

const read = (attributes: Attribute[]) =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue ?? Number(value.intValue)]),
  );

/** A collector of traces that speaks OTLP over HTTP with JSON, and keeps what it gets. */
export async function startCollector(): Promise<{
  url: string;
  spans(): Span[];
  /** What the exports brought as `Authorization`, each once. */
  credentials(): (string | undefined)[];
  stop(): Promise<void>;
}> {
  const spans: Span[] = [];
  const credentials = new Set<string | undefined>();
  const server = createServer(async (request, response) => {
    credentials.add(request.headers.authorization);
    const body = JSON.parse((await buffer(request)).toString()) as Exported;
    if (request.url !== '/v1/traces') response.statusCode = 404;
    for (const { resource, scopeSpans } of body.resourceSpans) {
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
        spans.push({
          service: String(read(resource.attributes)['service.name']),
          traceId: span.traceId,
          spanId: span.spanId,
          parentSpanId: span.parentSpanId ?? '',
          name: span.name,
          attributes: read(span.attributes),
          events: span.events.map(({ name }) => name),
          failed: span.status.code === 2,
          startedAt: BigInt(span.startTimeUnixNano),
        });
      }
    }
    response.setHeader('content-type', 'application/json').end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => spans,
    credentials: () => [...credentials],
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
