import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Redis } from 'ioredis';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { successEnvelope } from '../contract/envelope.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type NoteAction, openAudit } from '../queue/audit.ts';
import { joinMetrics, queueMetrics, readScaling } from '../queue/metrics.ts';
import type { Queues } from '../queue/queues.ts';
import type { Account } from './accounts.ts';
import { type AdminSources, addAdminApi } from './admin-api.ts';
import { createBoards } from './board.ts';
import { answerFailedCall } from './board-errors.ts';
import { keepAcceptedTasks } from './board-limits.ts';
import { errorPages, nothingHere } from './error-pages.ts';
import { acceptToken, requireLogin, roleOf, userOf } from './login.ts';
import { unavailable } from './outage.ts';
import { addPages } from './page-files.ts';
import { changesState, requireLocalCaller, requireOwnOrigin } from './same-origin.ts';

export type DashboardDependencies = {
  redis: Redis;
  queues: Queues;
  /** What the admin API reads and does beyond the two above. */
  admin: Omit<AdminSources, 'redis' | 'queues' | 'noteAction'>;
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

async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw unavailable(error);
  }
}

const refuseChangesByViewers: RequestHandler = (request, response, next) => {
  if (changesState(request) && roleOf(response) !== 'admin') {
    throw new AppError('FORBIDDEN', 'Viewers may look, not change anything.');
  }
  next();
};

/** Settings of a queue that Bull Board sends; what else a body holds is a client's. */
const TOLD_FIELDS = ['concurrency', 'max', 'duration'] as const;

/** What operators do in Bull Board is written down as well. */
function auditBoard(noteAction: NoteAction): RequestHandler {
  return (request, response, next) => {
    if (changesState(request)) {
      const { method, path } = request;
      response.once('finish', () => {
        const { statusCode } = response;
        const result = statusCode < 400 ? 'done' : statusCode === 503 ? 'unknown' : 'failed';
        // Read by Bull Board itself.
        const body = (request.body ?? {}) as Record<string, unknown>;
        const told = TOLD_FIELDS.flatMap((name) => (typeof body[name] === 'number' ? [`${name} ${body[name]}`] : []));
        const detail = [`answered ${statusCode}`, ...told].join(', ');
        void noteAction({ who: userOf(response), action: 'Bull Board', target: `${method} ${path}`, result, detail });
      });
    }
    next();
  };
}

/** Bull Board at `/` behind the login rule, with metrics and health beside it. */
export function createDashboardApp(dependencies: DashboardDependencies): Express {
  const { redis, queues, admin, accounts, metricsToken, trustProxyHops, log } = dependencies;
  const noteAction = openAudit(redis, log);
  const boards = createBoards(queues, (error) => answerFailedCall(error, redis, log));
  const registry = new Registry();
  let isScraped = false;
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

  const login = requireLogin(accounts, log);
  const access = accounts.length === 0 ? [requireLocalCaller, login] : [login];
  const metricsAccess = access.map((handler) => acceptToken(metricsToken, handler));
  app.get('/metrics', ...metricsAccess, async (_request, response) => {
    // Watching the event loop wakes the process a hundred times a second: not before somebody wants to know.
    if (!isScraped) collectDefaultMetrics({ register: registry, prefix: 'recognize_dashboard_' });
    isScraped = true;
    const ofQueues = await queueMetrics(redis, queues).catch(() => undefined);
    redisUp.set(ofQueues === undefined ? 0 : 1);
    response.type(registry.contentType).send(joinMetrics([await registry.metrics(), ofQueues ?? '']));
  });
  app.get('/metrics/scaling', ...metricsAccess, async (_request, response) => {
    response.json(await orUnavailable(readScaling(redis, queues)));
  });

  app.use(access, refuseChangesByViewers, requireOwnOrigin);
  addPages(app);
  app.use((request, _response, next) => {
    if (redis.status !== 'ready' && !request.path.startsWith('/static/')) throw unavailable();
    next();
  });
  addAdminApi(app, { redis, queues, noteAction, ...admin });
  app.use(auditBoard(noteAction), keepAcceptedTasks(redis, queues));
  app.use((request, response, next) => boards[roleOf(response)](request, response, next));
  app.use(nothingHere, errorPages(log));
  return app;
}
