import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Redis } from 'ioredis';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { successEnvelope } from '../contract/envelope.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { noteAction } from '../queue/audit.ts';
import { joinMetrics, queueMetrics, readScaling } from '../queue/metrics.ts';
import type { Queues } from '../queue/queues.ts';
import type { Account } from './accounts.ts';
import { type AdminSources, addAdminApi } from './admin-api.ts';
import { createBoards, type FailedCall } from './board.ts';
import { keepAcceptedTasks } from './board-limits.ts';
import { errorBody, errorPages, nothingHere } from './error-pages.ts';
import { acceptToken, requireLogin, roleOf, userOf } from './login.ts';
import { isOutage } from './outage.ts';
import { addPages } from './page-files.ts';
import { publicReason } from './presentation.ts';
import { changesState, requireLocalCaller, requireOwnOrigin } from './same-origin.ts';

export type DashboardDependencies = {
  redis: Redis;
  queues: Queues;
  /** What the admin API reads and does beyond the two above. */
  admin: Omit<AdminSources, 'redis' | 'queues' | 'log'>;
  /** Nobody listed: no login, and callers on this machine only. */
  accounts: readonly Account[];
  metricsToken: string | undefined;
  trustProxyHops: number;
  log: Logger;
};

/** Everything from here, nothing from outside; Bull Board styles its elements inline. */
const securityHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      baseUri: ["'self'"],
      connectSrc: ["'self'"],
      fontSrc: ["'self'"],
      formAction: ["'self'"],
      frameAncestors: ["'none'"],
      imgSrc: ["'self'", 'data:'],
      mediaSrc: ["'self'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
    },
  },
  xFrameOptions: { action: 'deny' },
  // Whoever puts TLS in front decides over a whole domain's HTTPS; on plain HTTP these only warn in the console.
  strictTransportSecurity: false,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
});

const unavailable = (cause?: unknown) =>
  new AppError('QUEUE_UNAVAILABLE', 'Redis does not answer at the moment. This page tries again by itself.', {
    retryAfterSeconds: 5,
    cause,
  });

async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw unavailable(error);
  }
}

/** What a call of the page gets when BullMQ or the connection throws. */
function answerFailedCall(error: Error, redis: Redis, log: Logger): FailedCall {
  if (isOutage(error, redis)) return { status: unavailable().status, body: errorBody(unavailable()) };
  log.warn({ err: error }, 'dashboard: a call of the page failed');
  return { status: 500, body: errorBody(new AppError('INTERNAL', publicReason(error.message))) };
}

const refuseChangesByViewers: RequestHandler = (request, response, next) => {
  if (changesState(request) && roleOf(response) !== 'admin') {
    throw new AppError('FORBIDDEN', 'Viewers may look, not change anything.');
  }
  next();
};

/** What operators do in Bull Board is written down as well. */
function auditBoard(redis: Redis, log: Logger): RequestHandler {
  return (request, response, next) => {
    if (changesState(request)) {
      const { method, path } = request;
      response.once('finish', () => {
        const { statusCode } = response;
        const result = statusCode < 400 ? 'done' : statusCode === 503 ? 'unknown' : 'failed';
        const detail = `answered ${statusCode}`;
        void noteAction(redis, log, {
          who: userOf(response),
          action: 'Bull Board',
          target: `${method} ${path}`,
          result,
          detail,
        });
      });
    }
    next();
  };
}

/** Bull Board at `/` behind the login rule, with metrics and health beside it. */
export function createDashboardApp(dependencies: DashboardDependencies): Express {
  const { redis, queues, admin, accounts, metricsToken, trustProxyHops, log } = dependencies;
  const boards = createBoards(queues, (error) => answerFailedCall(error, redis, log));
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'recognize_dashboard_' });
  const redisUp = new Gauge({
    name: 'recognize_redis_up',
    help: '1 where Redis answered this scrape',
    registers: [registry],
  });

  const app = express();
  app.set('trust proxy', trustProxyHops);
  app.disable('x-powered-by');
  app.use(securityHeaders, (_request, response, next) => {
    response.set('Cache-Control', 'no-store');
    next();
  });

  app.get('/api/health/live', (_request, response) => response.json(successEnvelope({ live: true })));
  app.get('/api/health/ready', async (_request, response) => {
    await orUnavailable(redis.ping());
    response.json(successEnvelope({ ready: true }));
  });

  if (accounts.length === 0) app.use(requireLocalCaller);
  const login = requireLogin(accounts, log);
  const metricsAccess = acceptToken(metricsToken, login);
  app.get('/metrics', metricsAccess, async (_request, response) => {
    const ofQueues = await queueMetrics(redis, queues).catch(() => undefined);
    redisUp.set(ofQueues === undefined ? 0 : 1);
    response.type(registry.contentType).send(joinMetrics([await registry.metrics(), ofQueues ?? '']));
  });
  app.get('/metrics/scaling', metricsAccess, async (_request, response) => {
    response.json(await orUnavailable(readScaling(redis, queues)));
  });

  app.use(login, refuseChangesByViewers, requireOwnOrigin);
  addPages(app);
  app.use((request, _response, next) => {
    if (redis.status !== 'ready' && !request.path.startsWith('/static/')) throw unavailable();
    next();
  });
  addAdminApi(app, { redis, queues, log, ...admin });
  app.use(auditBoard(redis, log), keepAcceptedTasks(queues));
  app.use((request, response, next) => boards[roleOf(response)](request, response, next));
  app.use(nothingHere, errorPages(log));
  return app;
}
