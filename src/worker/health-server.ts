import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { errorEnvelope, successEnvelope } from '../contract/envelope.ts';
import { AppError, StartError } from '../errors.ts';
import { bringsToken, isOwnMachine } from '../telemetry/metrics-access.ts';

export type HealthServerOptions = {
  port: number;
  isReady(): boolean;
  metrics: { contentType: string; text(): Promise<string> };
  metricsToken: string | undefined;
};

type Body = { contentType: string; text: string };

const notReady = () =>
  new AppError('QUEUE_UNAVAILABLE', 'Not ready: the models are not loaded, or Redis does not answer.');

const json = (body: object): Body => ({ contentType: 'application/json', text: JSON.stringify(body) });

/**
 * Serves `/api/health/live` and `/api/health/ready` for orchestrators and `/metrics` for Prometheus, and nothing else;
 * on every address, since they ask from outside. Metrics are for callers on this machine and those with METRICS_TOKEN.
 *
 * @throws StartError when the port is taken
 */
export function startHealthServer({ port, isReady, metrics, metricsToken }: HealthServerOptions): Promise<Server> {
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
      const known = error instanceof AppError ? error : new AppError('INTERNAL', 'Something went wrong on our side.');
      answer(known.status, json(errorEnvelope(known)));
    }
  }

  const server = createServer((request, response) => void handle(request, response));
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE' ? new StartError(`Port ${port} is taken. Set HEALTH_PORT to a free one.`) : error,
      ),
    );
    server.listen(port, () => resolve(server));
  });
}
