import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { errorEnvelope, successEnvelope } from '../contract/envelope.ts';
import { AppError } from '../errors.ts';
import { listen } from '../listen.ts';
import type { Logger } from '../log.ts';
import { bringsToken, isOwnMachine } from '../telemetry/metrics-access.ts';

export type HealthServerOptions = {
  port: number;
  isReady(): boolean;
  metrics: { contentType: string; text(): Promise<string> };
  metricsToken: string | undefined;
  log: Logger;
};

type Body = { contentType: string; text: string };

const notReady = () =>
  new AppError('QUEUE_UNAVAILABLE', 'Not ready: the models are not loaded, or Redis does not answer.', {
    retryAfterSeconds: 5,
  });

const json = (body: object): Body => ({ contentType: 'application/json', text: JSON.stringify(body) });

/**
 * Serves `/api/health/live` and `/api/health/ready` for orchestrators and `/metrics` for Prometheus, and nothing else;
 * on every address, since they ask from outside. Metrics are for callers on this machine and those with METRICS_TOKEN.
 *
 * @throws StartError when the port cannot be had
 */
export async function startHealthServer({
  port,
  isReady,
  metrics,
  metricsToken,
  log,
}: HealthServerOptions): Promise<Server> {
  async function view({ url, headers, socket }: IncomingMessage): Promise<Body> {
    const path = url?.split('?')[0];
    if (path === '/api/health/live') return json(successEnvelope({ live: true }));
    if (path === '/metrics') {
      if (!bringsToken(headers, metricsToken) && !isOwnMachine(headers, socket.remoteAddress ?? '', false))
        throw new AppError(
          'FORBIDDEN',
          'Metrics are for callers on this machine or with METRICS_TOKEN as bearer token.',
        );
      return { contentType: metrics.contentType, text: await metrics.text() };
    }
    if (path !== '/api/health/ready') throw new AppError('NOT_FOUND', 'There is nothing here.');
    if (!isReady()) throw notReady();
    return json(successEnvelope({ ready: true }));
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = (status: number, { contentType, text }: Body) => {
      response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
      response.end(text);
    };
    try {
      answer(200, await view(request));
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error }, 'a request to HEALTH_PORT failed');
      const known = error instanceof AppError ? error : new AppError('INTERNAL', 'Something went wrong on our side.');
      if (known.retryAfterSeconds !== undefined) response.setHeader('retry-after', known.retryAfterSeconds);
      answer(known.status, json(errorEnvelope(known)));
    }
  }

  const server = createServer((request, response) => void handle(request, response));
  await listen(server, { host: undefined, port, portSetting: 'HEALTH_PORT' });
  return server;
}
