import { randomUUID } from 'node:crypto';
import cors from 'cors';
import express, { type Express, type RequestHandler, Router } from 'express';
import helmet from 'helmet';
import type { Redis } from 'ioredis';
import type { Config } from '../config.ts';
import type { TaskResult } from '../contract/results.ts';
import type { Logger } from '../log.ts';
import type { TaskService } from '../queue/task-service.ts';
import type { Storage } from '../storage/storage.ts';
import { limitRate, requireApiKey, requireMetricsAccess } from './access.ts';
import { addDetectRoutes, type SyncDetection } from './detect-routes.ts';
import { errorHandler, nothingHere } from './error-handler.ts';
import { addEventRoutes } from './event-routes.ts';
import { addFileRoutes } from './file-routes.ts';
import { addRoute } from './http.ts';
import { createHttpMetrics } from './http-metrics.ts';
import { addHealthRoutes, addModelRoutes, type SystemDependencies } from './system-routes.ts';
import { addSyncTaskRoutes, addTaskRoutes } from './task-routes.ts';

export type WebDependencies = SystemDependencies & {
  config: Config;
  storage: Storage;
  redis: Redis | undefined;
  tasks: TaskService | undefined;
  sync: SyncDetection | undefined;
  resultOf: (base: string) => Promise<TaskResult | undefined>;
  /** Prometheus text of queues and workers, and their depths; undefined in sync mode. */
  queueView: { metrics: () => Promise<string>; scaling: () => Promise<object> } | undefined;
  log: Logger;
};

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

const identify: RequestHandler = (request, response, next) => {
  const given = request.get('x-request-id');
  request.id = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
  request.owner = null;
  response.set('X-Request-Id', request.id);
  next();
};

/** The whole HTTP surface of the web process. */
export function createApp(dependencies: WebDependencies): Express {
  const { config, storage, redis, tasks, sync, queueView, log } = dependencies;
  const metrics = createHttpMetrics();
  const app = express();
  app.set('trust proxy', config.web.trustProxyHops);
  app.set('etag', false);
  app.disable('x-powered-by');
  app.use(identify, metrics.measure, helmet());
  app.use(
    cors({
      origin:
        config.web.corsOrigins.length === 0
          ? false
          : config.web.corsOrigins.includes('*')
            ? '*'
            : config.web.corsOrigins,
      exposedHeaders: [
        'Location',
        'Retry-After',
        'X-Request-Id',
        'Preference-Applied',
        'RateLimit-Limit',
        'RateLimit-Remaining',
        'RateLimit-Reset',
      ],
      maxAge: 600,
    }),
  );

  const open = Router();
  addHealthRoutes(open, dependencies);
  addFileRoutes(open, storage, dependencies.resultOf, config.limits.imagePixels);
  app.use('/api', open);

  const guarded = Router();
  guarded.use(requireApiKey(config.web.apiKeys));
  addModelRoutes(guarded, dependencies);
  addDetectRoutes(guarded, {
    config,
    catalog: dependencies.catalog,
    storage,
    tasks,
    sync,
    before: [limitRate(config.web.rateLimit, redis)],
    log,
  });
  if (tasks === undefined) addSyncTaskRoutes(guarded);
  else {
    addTaskRoutes(guarded, tasks, storage, config.web.apiKeys.length > 0);
    addEventRoutes(guarded, tasks);
  }
  app.use('/api', guarded);

  const mayMeasure = requireMetricsAccess(config.web.metricsToken);
  const exposition: RequestHandler = async (_request, response) => {
    const parts = [await metrics.registry.metrics(), ...(queueView === undefined ? [] : [await queueView.metrics()])];
    response.type(metrics.registry.contentType).send(parts.map((part) => `${part.trimEnd()}\n`).join(''));
  };
  addRoute(app, '/metrics', { get: [mayMeasure, exposition] });
  if (queueView !== undefined) {
    const scaling: RequestHandler = async (_request, response) => void response.json(await queueView.scaling());
    addRoute(app, '/metrics/scaling', { get: [mayMeasure, scaling] });
  }
  addRoute(app, '/', { get: (_request, response) => response.redirect('/docs') });

  app.use(nothingHere);
  app.use(errorHandler(log));
  return app;
}
