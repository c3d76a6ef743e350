import { createServer, type Server } from 'node:http';
import { errorEnvelope, successEnvelope } from '../contract/envelope.ts';
import { AppError, StartError } from '../errors.ts';

const notReady = () =>
  new AppError('QUEUE_UNAVAILABLE', 'Not ready: the models are not loaded, or Redis does not answer.');

/**
 * Serves `/api/health/live` and `/api/health/ready` for orchestrators, and nothing else; on every address, since they
 * ask from outside.
 *
 * @throws StartError when the port is taken
 */
export function startHealthServer(port: number, isReady: () => boolean): Promise<Server> {
  function view(path: string | undefined): object {
    if (path === '/api/health/live') return { live: true };
    if (path !== '/api/health/ready') throw new AppError('NOT_FOUND', 'There is nothing here.');
    if (!isReady()) throw notReady();
    return { ready: true };
  }

  const server = createServer((request, response) => {
    const answer = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(JSON.stringify(body));
    };
    try {
      answer(200, successEnvelope(view(request.url?.split('?')[0])));
    } catch (error) {
      const known = error instanceof AppError ? error : notReady();
      answer(known.status, errorEnvelope(known));
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE' ? new StartError(`Port ${port} is taken. Set HEALTH_PORT to a free one.`) : error,
      ),
    );
    server.listen(port, () => resolve(server));
  });
}
