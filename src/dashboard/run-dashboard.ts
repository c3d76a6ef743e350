import { createServer, type Server } from 'node:http';
import process from 'node:process';
import type { Config } from '../config.ts';
import { KIND_NAMES } from '../contract/kinds.ts';
import { listen } from '../listen.ts';
import type { Logger } from '../log.ts';
import { createHistoryReader } from '../queue/history-reader.ts';
import { checkKeys } from '../queue/key-record.ts';
import { openQueues } from '../queue/queues.ts';
import { connected, connectFailFast, disconnect } from '../queue/redis.ts';
import { createTaskActions } from '../queue/task-actions.ts';
import { lookUpTasks } from '../queue/task-lookup.ts';
import { createTaskService } from '../queue/tasks.ts';
import { createKeyring } from '../sealing/keyring.ts';
import { storageSettings } from '../storage/settings.ts';
import { openStoredFiles, type StoredFiles } from '../storage/storage.ts';
import { watchStorage } from '../storage/storage-watch.ts';
import { resolveAccounts } from './accounts.ts';
import { createDashboardApp } from './app.ts';

export type RunningDashboard = { url: string; stop(): Promise<void> };

/** Answers that are under way when the dashboard stops get so long to finish, in ms. */
const STOP_GRACE_MS = 2000;

/** How long the keys in use are asked for, in ms; the dashboard itself does not wait for Redis. */
const REDIS_PATIENCE_MS = 10_000;

/** Past the logger: its lines also go to LOG_DIR. */
function printPlainly(line: string): void {
  process.stdout.write(`${line}\n`);
}

/**
 * Runs the dashboard: its pages and admin API, Bull Board, metrics and health on DASHBOARD_HOST and DASHBOARD_PORT.
 *
 * @param print gets a password that was made, as a line for a person
 * @throws StartError for a taken port or a login that cannot be used
 */
export async function runDashboard(
  config: Config,
  log: Logger,
  print: (line: string) => void = printPlainly,
): Promise<RunningDashboard> {
  const redis = connectFailFast(config.redis, log);
  const keyring = createKeyring(config.encryptionKeys);
  const queues = openQueues(redis, keyring);

  async function close(): Promise<void> {
    await Promise.all(KIND_NAMES.map((kind) => queues[kind].close().catch(() => undefined)));
    await disconnect(redis);
  }

  async function open(): Promise<{ server: Server; url: string; files: StoredFiles; login: boolean }> {
    const accounts = await resolveAccounts(config.dashboard, config.paths.data, print);
    const { metricsToken, trustProxyHops } = config.web;
    const lookup = lookUpTasks(redis, queues, config.ttl.resultSeconds, keyring);
    const settings = { resultTtlSeconds: config.ttl.resultSeconds, maxQueueLength: 0, keyring };
    const files = await openStoredFiles(storageSettings(config), keyring);
    const admin = {
      history: createHistoryReader(redis),
      lookup,
      // Nobody waits here for the end of a task.
      tasks: createTaskService(redis, queues, { once: () => () => undefined, isListening: () => false }, settings, log),
      actions: createTaskActions(redis, queues, lookup),
      files,
      storage: watchStorage(files.checkReadable),
      keyring,
      logFolder: config.paths.logs,
    };
    const app = createDashboardApp({ redis, queues, admin, accounts, metricsToken, trustProxyHops, log });
    const server = createServer(app);
    const { host, port } = config.dashboard;
    const url = await listen(server, { host, port, portSetting: 'DASHBOARD_PORT', hostSetting: 'DASHBOARD_HOST' });
    return { server, url, files, login: accounts.length > 0 };
  }

  const { server, url, files, login } = await open().catch(async (error: unknown) => {
    await close();
    throw error;
  });
  log.info({ url, login }, 'dashboard ready');
  connected(redis, REDIS_PATIENCE_MS)
    .then(() => checkKeys(redis, keyring, config.ttl.uploadSeconds, log))
    .catch((error: unknown) => log.warn({ err: error }, 'could not look which encryption keys are in use'));

  return {
    url,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const grace = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS);
      await closed;
      clearTimeout(grace);
      await close();
      files.close();
      log.info('dashboard stopped');
    },
  };
}
