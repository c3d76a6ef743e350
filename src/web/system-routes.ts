import type { RequestHandler, Router } from 'express';
import type { Health } from '../contract/health.ts';
import type { Kind } from '../contract/kinds.ts';
import { AppError } from '../errors.ts';
import type { ModelCatalog } from '../models/catalog.ts';
import { addRoute, sendData } from './http.ts';

export type SystemDependencies = {
  catalog: ModelCatalog;
  defaultModel: (kind: Kind) => Promise<string | undefined>;
  health: () => Promise<Health>;
  /** Rejects with what is missing. */
  checkReady: () => Promise<void>;
};

/** Routes that need no API key: how the service stands. */
export function addHealthRoutes(router: Router, { health, checkReady }: SystemDependencies): void {
  const uncached: RequestHandler = (_request, response, next) => {
    response.set('Cache-Control', 'no-store');
    next();
  };

  const state: RequestHandler = async (_request, response) => {
    const found = await health();
    sendData(response, found.status === 'down' ? 503 : 200, found);
  };

  const live: RequestHandler = (_request, response) => sendData(response, 200, { live: true });

  const ready: RequestHandler = async (_request, response) => {
    await checkReady().catch((error: unknown) => {
      throw error instanceof AppError
        ? error
        : new AppError('QUEUE_UNAVAILABLE', 'Not ready: Redis does not answer.', {
            cause: error,
            retryAfterSeconds: 5,
          });
    });
    sendData(response, 200, { ready: true });
  };

  addRoute(router, '/health', { get: [uncached, state] });
  addRoute(router, '/health/live', { get: [uncached, live] });
  addRoute(router, '/health/ready', { get: [uncached, ready] });
}

/** `GET /api/models`: what can be asked for. */
export function addModelRoutes(router: Router, { catalog, defaultModel }: SystemDependencies): void {
  const models: RequestHandler = async (_request, response) => {
    const ready = await catalog.ready();
    const data = await Promise.all(
      ready.map(async ({ name, task, input, labels, licence, defaults }) => ({
        name,
        task,
        input_size: input,
        labels,
        licence,
        confidence: defaults.confidence,
        nms: defaults.nms,
        default: (await defaultModel(task)) === name,
      })),
    );
    sendData(response, 200, { models: data });
  };
  addRoute(router, '/models', { get: models });
}
