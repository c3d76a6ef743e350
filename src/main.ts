import process from 'node:process';
import { forgetSecrets, loadConfig } from './config.ts';
import { KIND_NAMES, type Kind } from './contract/kinds.ts';
import { StartError } from './errors.ts';
import { FORCED_EXIT_MS } from './grace.ts';
import { createLog } from './log.ts';
import { createCatalog } from './models/catalog.ts';
import { checkModelSettings } from './models/check-settings.ts';
import { EXIT_RESTART, EXIT_WRONG_SETTING, reportReady, whenSupervisorGone } from './supervisor/supervised.ts';

type Stop = () => Promise<void>;

const USAGE = `usage: node src/main.ts all | web | dashboard | autoscaler | ${KIND_NAMES.map((kind) => `worker:${kind}`).join(' | ')}`;

type Started = { stop: Stop; graceMs: number; restartWanted?: Promise<void> };

async function start(role: string): Promise<Started | undefined> {
  const config = loadConfig();
  const graceMs = config.worker.graceSeconds * 1000 + FORCED_EXIT_MS;
  const log = createLog(role, config.logLevel, config.logRotation);
  await checkModelSettings(config.models, createCatalog(config.paths.models, config.paths.manifest));
  if (role === 'all') {
    const { runSupervisor } = await import('./supervisor/supervisor.ts');
    await runSupervisor(config, log.logger);
    return undefined;
  }
  forgetSecrets();
  const kind = KIND_NAMES.find((name) => role === `worker:${name}`) as Kind | undefined;
  if (kind !== undefined) {
    const { runWorker } = await import('./worker/run-worker.ts');
    const restart = Promise.withResolvers<void>();
    const worker = await runWorker(kind, config, log.logger, log.addFile, reportReady, restart.resolve);
    return { stop: worker.stop, graceMs, restartWanted: restart.promise };
  }
  if (role === 'web') {
    const { runWeb } = await import('./web/run-web.ts');
    const web = await runWeb(config, log.logger);
    void web.whenReady.then(() => reportReady(web.url));
    return { stop: web.stop, graceMs };
  }
  if (role === 'dashboard') {
    const { runDashboard } = await import('./dashboard/run-dashboard.ts');
    const dashboard = await runDashboard(config, log.logger);
    reportReady(dashboard.url);
    return { stop: dashboard.stop, graceMs };
  }
  if (role === 'autoscaler') {
    const { runComposeAutoscaler } = await import('./autoscale/run-compose-autoscaler.ts');
    const autoscaler = await runComposeAutoscaler(config, log.logger);
    reportReady();
    return { stop: autoscaler.stop, graceMs };
  }
  throw new StartError(USAGE);
}

/**
 * Ends the process once, softly, on whichever of the signals comes first, when its supervisor is gone, or when it is to
 * be started anew.
 */
function stopOnSignals({ stop, graceMs, restartWanted }: Started): void {
  let stopping = false;
  const end = (code: number) => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), graceMs).unref();
    stop().then(
      () => process.exit(code),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(0));
  whenSupervisorGone(() => end(0));
  void restartWanted?.then(() => end(EXIT_RESTART));
}

try {
  const running = await start(process.argv[2] ?? '');
  if (running !== undefined) stopOnSignals(running);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  console.error(error.message);
  process.exit(EXIT_WRONG_SETTING);
}
