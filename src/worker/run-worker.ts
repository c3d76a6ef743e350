import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { createLanes, type Lanes, type LaneUse } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { createCatalog } from '../models/catalog.ts';
import { listenForCancellations, whichAreRevoked } from '../queue/cancellations.ts';
import { beat, HEARTBEAT_MS, type Heartbeat, signOff } from '../queue/heartbeat.ts';
import { connectPatient, connectSubscriber, disconnect } from '../queue/redis.ts';
import { recordStatistics } from '../queue/statistics.ts';
import { takeWorkerLease } from '../queue/worker-lease.ts';
import { openLocalStorage } from '../storage/storage.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import { startHealthServer } from './health-server.ts';
import { laneSettings } from './lane-settings.ts';

const MODEL_POLL_MS = 2000;
const LANE_RETRY_MS = 2000;
const USAGE_EVERY_BEATS = 3;

export type Running = { name: string; stop(): Promise<void> };

/**
 * Runs one worker of a kind until it is stopped. It says what it does from the first moment on, and takes work only
 * once its models are loaded and warm; a model that is missing is waited for.
 */
export async function runWorker(
  kind: Kind,
  config: Config,
  log: Logger,
  addLogFile: (path: string) => void,
  onReady: () => void,
): Promise<Running> {
  const stopping = new AbortController();
  const redis = connectPatient(config.redis, log);
  const subscriber = connectSubscriber(config.redis, log);
  const lease = await takeWorkerLease(redis, kind);
  addLogFile(join(config.paths.logs, `${lease.name}.log`));
  const workerLog = log.child({ worker: lease.name, queue: KINDS[kind].queue });
  const storage = await openLocalStorage(config.paths.uploads, config.paths.tmp);
  const statistics = recordStatistics(redis, KINDS[kind].queue);
  const catalog = createCatalog(config.paths.models, config.paths.manifest);

  let state: Heartbeat['state'] = 'starting';
  let reason: string | undefined = 'starting';
  let model: string | null = null;
  let lanes: Lanes | undefined;
  let consumer: Consumer | undefined;
  let laneUse: LaneUse[] = [];
  let beats = 0;
  const startedAt = Date.now();

  const health =
    config.healthPort === undefined
      ? undefined
      : await startHealthServer(config.healthPort, () => state === 'ready' && redis.status === 'ready');

  function heartbeat(): Heartbeat {
    const rss = process.memoryUsage.rss();
    return {
      name: lease.name,
      kind,
      host: hostname(),
      pid: process.pid,
      state,
      ...(reason === undefined ? {} : { reason }),
      concurrency: config.worker.concurrency,
      current: consumer?.current() ?? [],
      ...(consumer?.totals() ?? { done: 0, failed: 0 }),
      rss,
      lanes: laneUse,
      model,
      started_at: startedAt,
      beat_at: Date.now(),
    };
  }

  async function tick(): Promise<void> {
    if (redis.status !== 'ready') return;
    if (lanes !== undefined && beats++ % USAGE_EVERY_BEATS === 0) laneUse = await lanes.usage();
    const running = consumer?.current().map(({ task_id }) => task_id) ?? [];
    const [revoked, holds] = await Promise.all([
      whichAreRevoked(redis, running),
      lease.renew(),
      beat(redis, heartbeat()),
      statistics.flush(),
    ]);
    for (const taskId of revoked) consumer?.cancel(taskId);
    if (!holds) workerLog.warn('another worker has taken this name during an outage; this one goes on under it');
  }

  async function keepBeating(): Promise<void> {
    while (!stopping.signal.aborted) {
      await tick().catch((error: unknown) => workerLog.warn({ err: error }, 'the heartbeat could not be written'));
      await sleep(HEARTBEAT_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  async function waitForModel(): Promise<string | undefined> {
    const wanted = kind === 'face' ? config.models.face : config.models.object;
    for (;;) {
      if (stopping.signal.aborted) return undefined;
      const found = await catalog.defaultFor(kind, wanted);
      if (found !== undefined) return found.name;
      if (reason !== 'no model') workerLog.warn('no model for this worker; `npm run models -- pull` fetches one');
      reason = 'no model';
      await sleep(MODEL_POLL_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  async function getReady(): Promise<void> {
    const name = await waitForModel();
    if (name === undefined) return;
    reason = 'loading models';
    lanes = createLanes(
      config.worker.concurrency,
      laneSettings(config, [name]),
      config.worker.maxTasksPerChild,
      workerLog,
    );
    for (;;) {
      try {
        await lanes.warm();
        break;
      } catch {
        reason = 'detection processes cannot start';
        await sleep(LANE_RETRY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
        if (stopping.signal.aborted) return;
      }
    }
    if (stopping.signal.aborted) return;
    consumer = createConsumer(
      redis,
      {
        kind,
        workerName: lease.name,
        lanes,
        storage,
        statistics,
        timeLimitSeconds: config.limits.imageSeconds,
        resultTtlSeconds: config.ttl.resultSeconds,
      },
      workerLog,
    );
    const listening = consumer;
    await listenForCancellations(subscriber, workerLog, (taskId) => listening.cancel(taskId));
    if (stopping.signal.aborted) return;
    model = name;
    state = 'ready';
    reason = undefined;
    consumer.start();
    await tick();
    workerLog.info({ model, slots: lanes.count, ms: Date.now() - startedAt }, 'worker ready');
    onReady();
  }

  const beating = keepBeating();
  const preparing = getReady().catch((error: unknown) =>
    workerLog.error({ err: error }, 'the worker could not get ready'),
  );

  return {
    name: lease.name,
    async stop() {
      state = 'draining';
      await tick().catch(() => undefined);
      stopping.abort();
      await consumer?.drain(config.worker.graceSeconds * 1000);
      await Promise.all([lanes?.close(), beating]);
      await preparing;
      if (redis.status === 'ready') {
        await Promise.allSettled([statistics.flush(), lease.release(), signOff(redis, lease.name)]);
      }
      health?.close();
      await Promise.all([disconnect(subscriber), disconnect(redis)]);
      workerLog.info('worker stopped');
    },
  };
}
