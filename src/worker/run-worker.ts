import type { Server } from 'node:http';
import { hostname, loadavg } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { KINDS, type Kind } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';
import { FAREWELL_MS } from '../grace.ts';
import type { Lanes, LaneUse } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { memoryTrouble } from '../machine-limits.ts';
import { watchCancellations } from '../queue/cancellations.ts';
import { type Heartbeat, signOff } from '../queue/heartbeat.ts';
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
import { createPulse } from './pulse.ts';
import { createWorkerMetrics, type WorkerView } from './worker-metrics.ts';

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
  let consumer: Consumer | undefined;
  let drainedBy: string | undefined;
  let isHeard = () => false;
  const cpu = measureCpu();

  const trouble = memoryTrouble(config.worker.machine);
  if (trouble?.fatal) throw new StartError(trouble.message);
  if (trouble !== undefined) log.warn(trouble.message);
  const keyring = createKeyring(config.encryptionKeys);
  const storage = await openStorage(storageSettings(config), keyring, log);
  const tracing = await startTracing(config.traces, `recognize-${kind}-worker`, log);
  const redis = connectPatient(config.redis, log);
  const subscriber = connectSubscriber(config.redis, log);
  let name: string | undefined;
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
        isReady: () => state === 'ready' && redis.status === 'ready' && isHeard(),
        metrics: createWorkerMetrics(kind, view, { uploads: config.paths.uploads, tmp: config.paths.tmp }),
        metricsToken: config.web.metricsToken,
        log,
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

  function describe(laneUse: readonly LaneUse[]): Heartbeat {
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

  const pulse = createPulse({
    redis,
    queue: KINDS[kind].queue,
    lease,
    statistics,
    describe,
    lanes: () => lanes,
    onBeat: () => consumer?.keepTaking(),
    log: workerLog,
  });
  isHeard = pulse.isHeard;

  async function getReady(): Promise<void> {
    const prepared = await prepareLanes(kind, config, workerLog, stopping.signal, (why) => {
      reason = why;
      pulse.beat().catch(() => undefined);
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
    await pulse.beat();
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
      if (outcome.applied) await pulse.beat();
      return outcome;
    },
    workerLog,
  );
  // Files beside the stored ones are swept by web; copies lie where only this machine sees them.
  if (storage.copies) {
    const { stop } = sweepAbandoned(storage, abandonedSeconds(config), workerLog);
    stopped.signal.addEventListener('abort', stop);
  }
  const beating = pulse.keepBeating(stopped.signal);
  const preparing = getReady().catch((error: unknown) =>
    workerLog.error({ err: error }, 'the worker could not get ready'),
  );

  return {
    name: lease.name,
    async stop() {
      state = 'draining';
      stopping.abort();
      pulse.beat().catch(() => undefined);
      await consumer?.drain(config.worker.graceSeconds * 1000);
      stopped.abort();
      await lanes?.close();
      await atMost(FAREWELL_MS, Promise.all([beating, preparing]));
      if (redis.status === 'ready') {
        const farewells = [pulse.flush(), lease.release(), signOff(redis, lease.name)];
        await atMost(FAREWELL_MS, Promise.allSettled(farewells));
      }
      health?.closeAllConnections();
      health?.close();
      await Promise.all([disconnect(subscriber), disconnect(redis), tracing?.stop()]);
      storage.close();
      workerLog.info('worker stopped');
    },
  };
}
