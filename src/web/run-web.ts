import { createServer } from 'node:http';
import type { Config } from '../config.ts';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import { WAIT_LIMIT_SECONDS } from '../contract/options.ts';
import { AppError } from '../errors.ts';
import { listen } from '../listen.ts';
import type { Logger } from '../log.ts';
import { createCatalog } from '../models/catalog.ts';
import { listenForEnds } from '../queue/ended.ts';
import { readHealth, syncHealth } from '../queue/health.ts';
import { checkKeys } from '../queue/key-record.ts';
import { KEYS } from '../queue/keys.ts';
import { queueMetrics, readScaling } from '../queue/metrics.ts';
import { openQueues } from '../queue/queues.ts';
import { connected, connectFailFast, connectSubscriber, disconnect } from '../queue/redis.ts';
import { createTaskService } from '../queue/tasks.ts';
import { createKeyring } from '../sealing/keyring.ts';
import { abandonedSeconds, storageSettings } from '../storage/settings.ts';
import { openStorage } from '../storage/storage.ts';
import { watchStorage } from '../storage/storage-watch.ts';
import { startTracing } from '../telemetry/tracing.ts';
import { createSyncService } from '../worker/sync-service.ts';
import { createApp, type WebDependencies } from './app.ts';
import { startSweeper } from './sweeper.ts';

/** A connection on which nothing moves for so long is closed, in ms; longer than anybody waits for an answer. */
function idleLimitMs({ mode, limits }: Config): number {
  const longestTask = mode === 'sync' ? Math.max(limits.imageSeconds, limits.videoSeconds) : 0;
  return (Math.max(longestTask, WAIT_LIMIT_SECONDS) + 30) * 1000;
}

/** A whole upload may take so long, in ms. */
const REQUEST_LIMIT_MS = 30 * 60_000;

/** How often connections that have fallen idle are closed while the process stops, in ms. */
const CLOSE_EVERY_MS = 50;

/** How long a start waits for Redis, in ms; without it requests are answered 503. */
const REDIS_PATIENCE_MS = 2000;

export type RunningWeb = {
  url: string;
  /** Resolves when requests are answered; in sync mode that is when the models are loaded. */
  whenReady: Promise<void>;
  stop(): Promise<void>;
};

type ModeParts = Pick<
  WebDependencies,
  'redis' | 'tasks' | 'sync' | 'resultOf' | 'queueView' | 'health' | 'checkReady'
> & {
  /** Resolves when it has all that it needs to answer requests. */
  whenReady: Promise<void>;
  /** Ends work that goes on past the time for it. */
  giveUp(): Promise<void>;
  close(): Promise<void>;
};

/** Its sentence tells clients and the log what to see to. */
const storageNotReady = (cause: unknown) =>
  new AppError(
    'QUEUE_UNAVAILABLE',
    'Not ready: files cannot be stored. See to UPLOAD_FOLDER and TMP_DIR, or STORAGE_URL.',
    { cause, retryAfterSeconds: 5 },
  );

/** Runs the web process: HTTP in front of the queue, or in sync mode in front of its own detectors. */
export async function runWeb(config: Config, log: Logger): Promise<RunningWeb> {
  const keyring = createKeyring(config.encryptionKeys);
  const storage = await openStorage(storageSettings(config), keyring, log);
  if (config.expiryRule) {
    storage.expireAfter(config.ttl.uploadSeconds).then(
      (rule) => log.info(rule ?? {}, 'the bucket has a rule that removes old files'),
      (error: unknown) => log.warn({ err: error }, 'the bucket takes no rule that removes old files; going on without'),
    );
  }
  const storageWatch = watchStorage(async () => {
    await storage.checkWritable();
    return true;
  });
  const storageHealth = async (maxAgeMs?: number) => {
    const { up, reason } = await storageWatch.state(maxAgeMs);
    return { up: up === true, ...(reason === undefined ? {} : { reason }) };
  };
  const requireStorage = async () => {
    // A folder costs next to nothing to look at, a bucket's requests are paid for.
    const { up, reason } = await storageHealth(config.bucket === undefined ? 0 : undefined);
    if (!up) throw storageNotReady(reason);
  };
  const catalog = createCatalog(config.paths.models, config.paths.manifest);
  const defaultModel = async (kind: Kind) => (await catalog.defaultFor(kind, config.models[kind]))?.name;
  const sweep = {
    resultTtlSeconds: config.ttl.resultSeconds,
    uploadTtlSeconds: config.ttl.uploadSeconds,
    abandonedSeconds: abandonedSeconds(config),
  };
  const tracing = await startTracing(config.traces, 'recognize-web', log);
  const owners = config.web.apiKeys.map(({ name }) => name);

  async function asyncParts(): Promise<ModeParts> {
    const redis = connectFailFast(config.redis, log);
    const subscriber = connectSubscriber(config.redis, log);
    const queues = openQueues(redis, keyring, tracing?.queue);
    // Who is told that the service is there is not to be told a moment later that its queue is not.
    await connected(redis, REDIS_PATIENCE_MS);
    const tasks = createTaskService(
      redis,
      queues,
      listenForEnds(subscriber),
      { resultTtlSeconds: config.ttl.resultSeconds, maxQueueLength: config.limits.queueLength, keyring },
      log,
    );
    checkKeys(redis, keyring, config.ttl.uploadSeconds, log).catch((error: unknown) =>
      log.warn({ err: error }, 'could not look which encryption keys are in use'),
    );
    const sweeper = startSweeper(storage, { redis, queues, keyring }, owners, sweep, log);
    return {
      redis,
      tasks,
      sync: undefined,
      resultOf: async (base) => (await tasks.findByFile(base))?.result,
      queueView: { metrics: () => queueMetrics(redis, queues), scaling: () => readScaling(redis, queues) },
      health: () =>
        readHealth(
          redis,
          queues,
          async (kind) => (await defaultModel(kind)) !== undefined,
          () => storageHealth(),
        ),
      checkReady: async () => {
        // A PING is answered even by a cluster that is down.
        await Promise.all([redis.exists(KEYS.workers()), requireStorage()]);
      },
      whenReady: Promise.resolve(),
      giveUp: async () => undefined,
      async close() {
        await sweeper.stop();
        await Promise.all(KIND_NAMES.map((kind) => queues[kind].close().catch(() => undefined)));
        await Promise.all([disconnect(subscriber), disconnect(redis)]);
      },
    };
  }

  function syncParts(): ModeParts {
    const sync = createSyncService(config, catalog, storage, log);
    const sweeper = startSweeper(storage, undefined, owners, sweep, log);
    const models = new Map<Kind, string | null>();
    const whenReady = sync
      .warm()
      .catch((error: unknown) => log.error({ err: error }, 'the detectors could not be loaded'));
    return {
      redis: undefined,
      tasks: undefined,
      sync,
      resultOf: sync.resultOf,
      queueView: undefined,
      async health() {
        for (const kind of KIND_NAMES) models.set(kind, (await defaultModel(kind)) ?? null);
        const reason = sync.isLoading() ? 'the detectors are still loading' : undefined;
        return syncHealth(
          (kind) => ({ ...sync.load(kind), model: models.get(kind) ?? null, reason }),
          await storageHealth(),
        );
      },
      async checkReady() {
        await requireStorage();
        if (!sync.isWarm())
          throw new AppError('MODEL_UNAVAILABLE', 'Not ready: the detectors are still loading.', {
            retryAfterSeconds: 2,
          });
      },
      whenReady,
      giveUp: sync.giveUp,
      async close() {
        await sweeper.stop();
        await sync.close();
      },
    };
  }

  const { close, giveUp, whenReady, ...parts } = config.mode === 'sync' ? syncParts() : await asyncParts();
  const closing = new AbortController();
  const app = createApp({ config, storage, catalog, defaultModel, tracing, log, closing: closing.signal, ...parts });
  const server = createServer({ requestTimeout: REQUEST_LIMIT_MS, keepAliveTimeout: 65_000 }, app);
  server.timeout = idleLimitMs(config);
  const address = { host: config.web.host, port: config.web.port, portSetting: 'PORT', hostSetting: 'HOST' };
  const url = await listen(server, address).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  log.info({ url, mode: config.mode }, 'web ready');
  storage.checkWritable().catch((error: unknown) => log.warn({ err: error }, storageNotReady(error).message));

  return {
    url,
    whenReady,
    async stop() {
      closing.abort();
      const closed = new Promise((resolve) => server.close(resolve));
      // A connection that is busy now is kept alive by its client once it has its answer.
      const idle = setInterval(() => server.closeIdleConnections(), CLOSE_EVERY_MS);
      const grace = setTimeout(() => {
        // Those who wait get an answer before they are cut off.
        void giveUp().finally(() => setTimeout(() => server.closeAllConnections(), CLOSE_EVERY_MS));
      }, config.worker.graceSeconds * 1000);
      await closed;
      clearInterval(idle);
      clearTimeout(grace);
      await close();
      storage.close();
      await tracing?.stop();
      log.info('web stopped');
    },
  };
}
