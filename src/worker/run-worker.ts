import type { Server } from 'node:http';
import { hostname, loadavg } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';
import type { Lanes, LaneUse } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { memoryTrouble } from '../machine-limits.ts';
import { watchCancellations } from '../queue/cancellations.ts';
import { beat, HEARTBEAT_MS, type Heartbeat, signOff } from '../queue/heartbeat.ts';
import { noteDepth } from '../queue/history.ts';
import { checkKeys } from '../queue/key-record.ts';
import { connectPatient, connectSubscriber, disconnect } from '../queue/redis.ts';
import { recordStatistics } from '../queue/statistics.ts';
import { takeWorkerLease } from '../queue/worker-lease.ts';
import { obeyOrders } from '../queue/worker-orders.ts';
import { createKeyring } from '../sealing/keyring.ts';
import { sweepAbandoned } from '../storage/abandoned.ts';
import { abandonedSeconds, storageSettings } from '../storage/settings.ts';
import { openStorage } from '../storage/storage.ts';
import { startTracing } from '../telemetry/tracing.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import { followOrder } from './follow-order.ts';
import { startHealthServer } from './health-server.ts';
import { prepareLanes } from './prepare-lanes.ts';
import { measureCpu } from './process-usage.ts';
import { createWorkerMetrics, type WorkerView } from './worker-metrics.ts';

const USAGE_EVERY_BEATS = 3;

/** Farewells are not waited for any longer: Redis may be away. */
const FAREWELL_MS = 300;

/** A worker whose heartbeats Redis has not taken for so long is not ready, in ms. */
const SILENCE_MS = 3 * HEARTBEAT_MS;

export type Running = { name: string; stop(): Promise<void> };

/** Waits for a promise, but not for ever. */
async function atMost(ms: number, promise: Promise<unknown>): Promise<void> {
  await Promise.race([promise.catch(() => undefined), sleep(ms, undefined, { ref: false })]);
}

/**
 * Runs one worker of a kind until it is stopped. It says what it does from the first moment on, and takes work only
 * once its models are loaded and warm; a model that is missing is waited for.
 *
 * @param onRestart is called when an operator wants the process to be started anew
 * @throws StartError when HEALTH_PORT is taken or there is too little memory to load a model
 */
export async function runWorker(
  kind: Kind,
  config: Config,
  log: Logger,
  addLogFile: (path: string) => void,
  onReady: () => void,
  onRestart: () => void = () => undefined,
): Promise<Running> {
  const stopping = new AbortController();
  const stopped = new AbortController();
  const startedAt = Date.now();
  let state: Heartbeat['state'] = 'starting';
  let reason: string | undefined = 'starting';
  let model: string | null = null;
  let lanes: Lanes | undefined;
  let laneUse: LaneUse[] = [];
  let consumer: Consumer | undefined;
  let beats = 0;
  let drainedBy: string | undefined;
  let depthMinute = 0;
  const cpu = measureCpu();
  let ffmpegTold = 0;

  const trouble = memoryTrouble(config.worker.machine);
  if (trouble?.fatal) throw new StartError(trouble.message);
  if (trouble !== undefined) log.warn(trouble.message);
  const keyring = createKeyring(config.encryptionKeys);
  const storage = await openStorage(storageSettings(config), keyring, log);
  const tracing = await startTracing(config.tracesEndpoint, `recognize-${kind}-worker`, log);
  const redis = connectPatient(config.redis, log);
  const subscriber = connectSubscriber(config.redis, log);
  let name: string | undefined;
  // When Redis last took a heartbeat.
  let heardAt = Number.NEGATIVE_INFINITY;
  const view = (): WorkerView => ({
    name,
    ready: state === 'ready',
    slots: lanes?.count ?? config.worker.concurrency,
    busy: consumer?.current().length ?? 0,
    ...(consumer?.totals() ?? { done: 0, failed: 0 }),
    ffmpegSeconds: lanes?.ffmpegSeconds() ?? 0,
  });
  let health: Server | undefined;
  try {
    if (config.healthPort !== undefined) {
      health = await startHealthServer({
        port: config.healthPort,
        isReady: () => state === 'ready' && redis.status === 'ready' && performance.now() - heardAt < SILENCE_MS,
        metrics: createWorkerMetrics(kind, view, { uploads: config.paths.uploads, tmp: config.paths.tmp }),
        metricsToken: config.web.metricsToken,
      });
    }
  } catch (error) {
    redis.disconnect();
    subscriber.disconnect();
    throw error;
  }
  const lease = await takeWorkerLease(redis, kind);
  name = lease.name;
  addLogFile(join(config.paths.logs, `${lease.name}.log`));
  const workerLog = log.child({ worker: lease.name, queue: KINDS[kind].queue });
  checkKeys(redis, keyring, config.ttl.uploadSeconds, workerLog).catch((error: unknown) =>
    workerLog.warn({ err: error }, 'could not look which encryption keys are in use'),
  );
  const statistics = recordStatistics(redis, KINDS[kind].queue);

  function heartbeat(): Heartbeat {
    return {
      id: lease.id,
      name: lease.name,
      kind,
      host: hostname(),
      pid: process.pid,
      state,
      ...(reason === undefined ? {} : { reason }),
      concurrency: lanes?.count ?? config.worker.concurrency,
      current: consumer?.current() ?? [],
      ...(consumer?.totals() ?? { done: 0, failed: 0, retried: 0 }),
      load: loadavg()[0] ?? 0,
      cpu_percent: Math.round(cpu.percent() + laneUse.reduce((sum, lane) => sum + lane.cpu, 0)),
      rss: process.memoryUsage.rss(),
      lanes: laneUse.map(({ pid, rss }) => ({ pid, rss })),
      model,
      models: lanes?.models() ?? [],
      started_at: startedAt,
      beat_at: Date.now(),
    };
  }

  function tellFfmpegSeconds(): void {
    const total = lanes?.ffmpegSeconds() ?? 0;
    statistics.addFfmpegSeconds(total - ffmpegTold);
    ffmpegTold = total;
  }

  async function tick(): Promise<void> {
    if (redis.status !== 'ready') return;
    tellFfmpegSeconds();
    const [holds] = await Promise.all([lease.renew(), beat(redis, heartbeat()), statistics.flush()]);
    heardAt = performance.now();
    if (!holds) workerLog.warn('another worker has taken this name during an outage; this one goes on under it');
    depthMinute = await noteDepth(redis, KINDS[kind].queue, depthMinute);
    if (lanes !== undefined && beats++ % USAGE_EVERY_BEATS === 0) laneUse = await lanes.usage();
  }

  async function keepBeating(): Promise<void> {
    while (!stopped.signal.aborted) {
      await tick().catch((error: unknown) => workerLog.warn({ err: error }, 'the heartbeat could not be written'));
      await sleep(HEARTBEAT_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  }

  async function getReady(): Promise<void> {
    const prepared = await prepareLanes(kind, config, workerLog, stopping.signal, (why) => {
      reason = why;
      tick().catch(() => undefined);
    });
    if (prepared === undefined) return;
    lanes = prepared.lanes;
    if (stopping.signal.aborted) return lanes.close();
    const taking = createConsumer(
      redis,
      {
        kind,
        workerName: lease.name,
        workerId: lease.id,
        lanes,
        storage,
        statistics,
        tracing,
        timeLimits: { image: config.limits.imageSeconds, video: config.limits.videoSeconds },
        resultTtlSeconds: config.ttl.resultSeconds,
        keyring,
      },
      workerLog,
    );
    consumer = taking;
    const running = () => taking.current().map(({ task_id }) => task_id);
    const watch = await watchCancellations(redis, subscriber, running, taking.cancel, workerLog);
    stopped.signal.addEventListener('abort', watch.stop);
    if (stopping.signal.aborted) return;
    model = prepared.model;
    state = 'ready';
    reason = undefined;
    taking.start();
    await tick();
    const { limitedBy, machine } = config.worker;
    const share = { cores: machine.cores, memory_mib: Math.round(machine.memoryBytes / 2 ** 20) };
    workerLog.info(
      { model, slots: lanes.count, slots_limited_by: limitedBy, ...share, ms: Date.now() - startedAt },
      'worker ready',
    );
    onReady();
  }

  await obeyOrders(
    redis,
    subscriber,
    lease.id,
    async (order, by) => {
      const outcome = followOrder(order, {
        consumer: state === 'starting' ? undefined : consumer,
        stopping: stopping.signal.aborted,
        concurrency: lanes?.count ?? 0,
        setDrained(on) {
          drainedBy = on ? by : undefined;
          state = on ? 'draining' : 'ready';
          reason = on ? `drained by ${by}` : undefined;
        },
        isDrained: drainedBy !== undefined,
        restart: onRestart,
      });
      if (outcome.applied) await tick();
      return outcome;
    },
    workerLog,
  );
  // Files beside the stored ones are swept by web; copies lie where only this machine sees them.
  if (storage.copies) {
    const { stop } = sweepAbandoned(storage, abandonedSeconds(config), workerLog);
    stopped.signal.addEventListener('abort', stop);
  }
  const beating = keepBeating();
  const preparing = getReady().catch((error: unknown) =>
    workerLog.error({ err: error }, 'the worker could not get ready'),
  );

  return {
    name: lease.name,
    async stop() {
      state = 'draining';
      stopping.abort();
      tick().catch(() => undefined);
      await consumer?.drain(config.worker.graceSeconds * 1000);
      stopped.abort();
      await lanes?.close();
      await atMost(FAREWELL_MS, Promise.all([beating, preparing]));
      if (redis.status === 'ready') {
        tellFfmpegSeconds();
        const farewells = [statistics.flush(), lease.release(), signOff(redis, lease.name)];
        await atMost(FAREWELL_MS, Promise.allSettled(farewells));
      }
      health?.closeAllConnections();
      health?.close();
      await Promise.all([disconnect(subscriber), disconnect(redis), tracing?.stop()]);
      workerLog.info('worker stopped');
    },
  };
}
