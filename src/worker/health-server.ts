import { createServer, type Server } from 'node:http';
import { StartError } from '../errors.ts';

/**
 * Serves `/api/health/live` and `/api/health/ready` for orchestrators, and nothing else.
 *
 * @throws StartError when the port is taken
 */
export function startHealthServer(port: number, isReady: () => boolean): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string) => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(JSON.stringify({ success: status === 200, message: text, timestamp: new Date().toISOString() }));
    };
    const path = request.url?.split('?')[0];
    if (path === '/api/health/live') answer(200, 'alive');
    else if (path === '/api/health/ready') isReady() ? answer(200, 'ready') : answer(503, 'not ready');
    else answer(404, 'There is nothing here.');
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
