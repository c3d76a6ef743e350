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
import type { Tracing } from '../telemetry/tracing.ts';
import { limitRate, requireApiKey } from './access.ts';
import { addDetectRoutes, type SyncDetection } from './detect-routes.ts';
import { addDocsRoutes } from './docs-routes.ts';
import { errorHandler, nothingHere } from './error-handler.ts';
import { addEventRoutes } from './event-routes.ts';
import { addFileRoutes } from './file-routes.ts';
import { addRoute } from './http.ts';
import { createHttpMetrics } from './http-metrics.ts';
import { addMetricsRoutes, type QueueView } from './metrics-routes.ts';
import { addHealthRoutes, addModelRoutes, type SystemDependencies } from './system-routes.ts';
import { addSyncTaskRoutes, addTaskRoutes } from './task-routes.ts';
import { traceRequests } from './trace-requests.ts';

export type WebDependencies = SystemDependencies & {
  config: Config;
  storage: Storage;
  redis: Redis | undefined;
  tasks: TaskService | undefined;
  sync: SyncDetection | undefined;
  resultOf: (base: string) => Promise<TaskResult | undefined>;
  /** Undefined in sync mode. */
  queueView: QueueView | undefined;
  tracing: Tracing | undefined;
  /** Aborts when the process is about to end: nobody is kept waiting then. */
  closing: AbortSignal;
  log: Logger;
};

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** The service speaks plain HTTP, whatever stands in front of it: its pages must not ask for their parts by HTTPS. */
const SECURITY_HEADERS = { contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } } };

const identify: RequestHandler = (request, response, next) => {
  const given = request.get('x-request-id');
  request.id = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
  request.owner = null;
  response.set('X-Request-Id', request.id);
  next();
};

/** The whole HTTP surface of the web process. */
export function createApp(dependencies: WebDependencies): Express {
  const { config, storage, redis, tasks, sync, queueView, closing, log } = dependencies;
  const metrics = createHttpMetrics({ uploads: config.paths.uploads, tmp: config.paths.tmp });
  const app = express();
  app.set('trust proxy', config.web.trustProxyHops);
  app.set('etag', false);
  app.disable('x-powered-by');
  app.use(identify);
  if (dependencies.tracing !== undefined) app.use(traceRequests(dependencies.tracing));
  app.use(metrics.measure, helmet(SECURITY_HEADERS));
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
      methods: ['GET', 'HEAD', 'POST', 'DELETE'],
      maxAge: 600,
    }),
  );

  const open = Router();
  addHealthRoutes(open, dependencies);
  addFileRoutes(open, storage, dependencies.resultOf, config.limits.imagePixels);
  app.use('/api', open);
  addDocsRoutes(app);

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
    closing,
    log,
  });
  if (tasks === undefined) addSyncTaskRoutes(guarded);
  else {
    addTaskRoutes(guarded, tasks, storage, config.web.apiKeys.length > 0, log);
    addEventRoutes(guarded, tasks, closing);
  }
  app.use('/api', guarded);

  addMetricsRoutes(app, metrics, queueView, config.web.metricsToken);
  addRoute(app, '/', { get: (_request, response) => response.redirect('/docs') });

  app.use(nothingHere);
  app.use(errorHandler(log));
  return app;
}
