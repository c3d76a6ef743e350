import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { AutoscaleRules } from '../autoscale/policy.ts';
import { type Config, childEnvironment } from '../config.ts';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import { SUPERVISED_STOP_MS } from '../grace.ts';
import type { WantedPort } from '../listen.ts';
import type { Logger } from '../log.ts';
import { lockDataFolder } from './data-lock.ts';
import { browserUrl, requireDistinctPorts, requireFreePort } from './ports.ts';
import { keepRedis } from './redis-keeper.ts';
import { type ServiceProcess, startServiceProcess } from './service-process.ts';
import { listenForStop } from './stop-signals.ts';
import { createWorkerFleet } from './worker-fleet.ts';

const SLOW_START_MS = 20_000;

type Plan = { role: string; ports: WantedPort[]; environment: Record<string, string> };

/** Which processes run, and where each of them listens. */
function planProcesses(config: Config): Plan[] {
  const web: Plan = {
    role: 'web',
    ports: [{ host: config.web.host, port: config.web.port, portSetting: 'PORT', hostSetting: 'HOST' }],
    environment: {},
  };
  if (config.mode === 'sync') return [web];
  const workers = KIND_NAMES.map((kind, index): Plan => {
    if (config.healthPort === undefined) return { role: `worker:${kind}`, ports: [], environment: {} };
    // One machine, several workers: the first has HEALTH_PORT, each further one the next port.
    const port = config.healthPort + index;
    return {
      role: `worker:${kind}`,
      ports: [{ host: undefined, port, portSetting: 'HEALTH_PORT' }],
      environment: { HEALTH_PORT: String(port) },
    };
  });
  const { host, port } = config.dashboard;
  const dashboard: Plan = {
    role: 'dashboard',
    ports: [{ host, port, portSetting: 'DASHBOARD_PORT', hostSetting: 'DASHBOARD_HOST' }],
    environment: {},
  };
  return [web, ...workers, dashboard];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function tellAddress(role: string, url: string): void {
  say(`${role.padEnd(10)} ${url}`);
  if (role === 'web') say(`docs       ${url}/docs`);
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Asks all to end at the same time, and ends what is left after the grace period or on `force`. */
async function stopAll(processes: readonly ServiceProcess[], graceMs: number, force: AbortSignal, log: Logger) {
  const left = new Set(processes);
  const kill = (reason: string) => {
    log.warn({ roles: [...left].map(({ role }) => role), reason }, 'ending what still runs');
    for (const process of left) process.kill();
  };
  const timer = setTimeout(() => kill('the grace period is over'), graceMs);
  const onForce = () => kill('asked to stop again');
  force.addEventListener('abort', onForce, { once: true });
  await Promise.all(processes.map((process) => process.stop().then(() => left.delete(process))));
  clearTimeout(timer);
  force.removeEventListener('abort', onForce);
}

/** The rules of AUTOSCALE_FILE, where there are any. @throws StartError where they are wrong */
async function autoscaleRules({ autoscaleFile, worker }: Config, log: Logger): Promise<AutoscaleRules | undefined> {
  if (autoscaleFile === undefined) return undefined;
  const { readRules } = await import('../autoscale/policy.ts');
  const rules = readRules(autoscaleFile);
  const most = KIND_NAMES.reduce((sum, kind) => sum + (rules.workers[kind]?.max ?? 1), 0) * worker.concurrency;
  if (most > availableParallelism())
    log.warn(
      { detection_processes: most, cores: availableParallelism() },
      'autoscaling may start more detection processes than there are cores; lower WORKER_CONCURRENCY or max',
    );
  return rules;
}

/**
 * Runs the whole service: the embedded Redis where REDIS_URL is unset, web, one worker of each kind and the dashboard
 * (in sync mode web alone); with rules in AUTOSCALE_FILE further workers as they ask for. Starts again what dies.
 * Resolves when SIGINT, SIGTERM or SIGHUP has ended all of it: first the processes, each finishing what it does within
 * GRACE_PERIOD, then Redis.
 *
 * @throws StartError when the data folder or a port is taken, or when Redis or a process cannot start
 */
export async function runSupervisor(config: Config, log: Logger): Promise<void> {
  const plans = planProcesses(config);
  const ports = plans.flatMap((plan) => plan.ports);
  // Nobody may read what we print any more; that is no reason to end.
  process.stdout.on('error', () => {});
  const signals = listenForStop();
  const undo: (() => Promise<void>)[] = [async () => signals.dispose()];
  try {
    requireDistinctPorts(ports);
    const lock = await lockDataFolder(config.paths.data);
    undo.push(() => lock.release());
    for (const wanted of ports) await requireFreePort(wanted);
    const rules = config.mode === 'async' ? await autoscaleRules(config, log) : undefined;

    let redisUrl = config.redis.url;
    if (config.mode === 'async' && redisUrl === undefined) {
      const redis = await keepRedis({ dataDir: config.paths.data, log, signal: signals.stop });
      undo.push(() => redis.stop());
      redisUrl = redis.url;
    }
    if (signals.stop.aborted) return;

    const shared = redisUrl === undefined ? {} : { REDIS_URL: redisUrl };
    const start = (role: string, environment: Record<string, string>) =>
      startServiceProcess({
        role,
        entry: join(config.paths.root, 'src/main.ts'),
        environment: childEnvironment({ ...shared, ...environment }),
        log,
      });
    const { runAutoscaler } = rules === undefined ? {} : await import('../autoscale/run-autoscaler.ts');
    const processes = plans.map(({ role, environment }) => start(role, environment));
    const running = new Set(processes);
    undo.push(() => stopAll([...running], config.worker.graceSeconds * 1000 + SUPERVISED_STOP_MS, signals.force, log));

    const waitingFor = new Set(plans.map(({ role }) => role));
    const allReady = Promise.all(
      processes.map(async ({ role, ready }) => {
        const { url } = await ready;
        waitingFor.delete(role);
        if (url !== undefined) tellAddress(role, browserUrl(url));
      }),
    ).then(() => say(`Recognize is ready (${process.uptime().toFixed(1)} s). Ctrl-C stops it.`));
    const slowStart = setTimeout(() => {
      if (waitingFor.size === 0) return;
      const where = waitingFor.has('web') ? 'the lines above say why' : 'GET /api/health says why';
      say(`Still waiting for ${[...waitingFor].join(', ')}: ${where}.`);
    }, SLOW_START_MS);
    undo.push(async () => clearTimeout(slowStart));

    if (rules !== undefined && runAutoscaler !== undefined) {
      // Only the first worker of a kind has HEALTH_PORT; an empty value also wins over .env.
      const further = (kind: Kind) => start(`worker:${kind}`, { HEALTH_PORT: '' });
      const fleet = createWorkerFleet(further, running, config.worker.graceSeconds * 1000 + SUPERVISED_STOP_MS, log);
      const autoscaler = runAutoscaler({ ...config.redis, url: redisUrl }, rules, fleet, log);
      undo.push(async () => (await autoscaler).stop());
    }

    const stopped = whenAborted(signals.stop);
    await Promise.race([allReady, stopped]);
    await stopped;
    log.info({ signal: signals.stop.reason }, 'stopping');
  } catch (error) {
    if (!signals.stop.aborted) throw error;
  } finally {
    for (const step of undo.reverse()) await step().catch((err) => log.warn({ err }, 'not everything ended cleanly'));
  }
}
