import { readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { type Config, loadConfig } from '../../src/config.ts';
import { KIND_NAMES, type Kind } from '../../src/contract/kinds.ts';
import { readManifest } from '../../src/models/manifest.ts';
import { CASCADE_DIRS, pullModel } from '../../src/models/pull.ts';
import { type RunningWeb, runWeb } from '../../src/web/run-web.ts';
import { type Running, runWorker } from '../../src/worker/run-worker.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { sharedPath } from './shared.ts';
import { tempDir } from './temp.ts';

export type Folders = { root: string; uploads: string; tmp: string; models: string; logs: string };

/** LOG_LEVEL of a test's own services; silent unless somebody looks for a fault. */
const log = pino({ level: process.env.RECOGNIZE_TEST_LOG ?? 'silent' });

/** New empty folders for one service. */
export async function makeFolders(): Promise<Folders> {
  const root = tempDir('w');
  const uploads = join(root, 'uploads');
  const folders = { root, uploads, tmp: join(uploads, '.tmp'), models: join(root, 'models'), logs: join(root, 'logs') };
  await mkdir(folders.models);
  await mkdir(folders.logs);
  return folders;
}

/** What the service writes and removes again to see whether it can write is there at any time. */
const isProbe = (name: string) => /^probe-[0-9a-f]{16}\.part$/.test(name);

/** Names of the files that are stored for good. */
export const storedIn = ({ uploads }: Pick<Folders, 'uploads'>) =>
  readdirSync(uploads).filter((name) => name !== '.tmp' && !isProbe(name));

/** Names of the files that are only there while something is done with them. */
export const temporaryIn = ({ tmp }: Pick<Folders, 'tmp'>) => readdirSync(tmp).filter((name) => !isProbe(name));

/** Puts models into a folder with the code that `npm run models -- pull` runs. */
export async function pullModels(folder: string, names: readonly string[]): Promise<void> {
  const { models } = await readManifest(new URL('../../models/manifest.json', import.meta.url).pathname);
  for (const name of names) {
    const entry = models.find((model) => model.name === name);
    if (entry === undefined) throw new Error(`The manifest knows no ${name}.`);
    const places = { mirrors: [], siblings: [sharedPath('models')], cascadeDirs: CASCADE_DIRS };
    const { state } = await pullModel({ ...entry, sources: [] }, folder, places);
    if (state === 'failed') throw new Error(`${name} could not be pulled.`);
  }
}

export function testConfig(folders: Folders, env: Record<string, string> = {}): Config {
  return loadConfig({
    PORT: '0',
    DATA_DIR: folders.root,
    MODELS_DIR: folders.models,
    LOG_DIR: folders.logs,
    WORKER_CONCURRENCY: '1',
    GRACE_PERIOD: '1',
    ...env,
  });
}

/** Another web process on the same or other folders; the caller stops it. */
export function startAnotherWeb(folders: Folders, env: Record<string, string>): Promise<RunningWeb> {
  return runWeb(testConfig(folders, env), log);
}

/** A worker of its own, warm and taking tasks; the caller stops it. */
export async function startWorker(kind: Kind, folders: Folders, env: Record<string, string>): Promise<Running> {
  const ready = Promise.withResolvers<void>();
  const worker = await runWorker(kind, testConfig(folders, env), log, () => undefined, ready.resolve);
  await ready.promise;
  return worker;
}

export type TestWeb = {
  url: string;
  redis: TestRedis;
  folders: Folders;
  /** The settings that it was started with, for further processes beside it. */
  env: Record<string, string>;
  stop(): Promise<void>;
};

/** Web and workers in this process, on new folders and on the Redis that `settings` name. */
export async function startWebOn(
  settings: Record<string, string>,
  models: readonly string[] = ['yunet', 'yolox_nano'],
  workers: readonly Kind[] = KIND_NAMES,
): Promise<Omit<TestWeb, 'redis'>> {
  const folders = await makeFolders();
  await pullModels(folders.models, models);
  const [web, ...running] = await Promise.all([
    startAnotherWeb(folders, settings),
    ...workers.map((kind) => startWorker(kind, folders, settings)),
  ]);
  return {
    url: web.url,
    folders,
    env: settings,
    async stop() {
      await Promise.all([web.stop(), ...running.map((worker) => worker.stop())]);
    },
  };
}

/**
 * The whole service in this process, its lanes real processes as always: web on a free port, workers, a private Redis,
 * new folders.
 *
 * @param models to be there; with none of a kind its worker is not started
 * @param workers kinds to start a worker for
 */
export async function startWeb({
  env = {},
  models = ['yunet', 'yolox_nano'],
  workers = KIND_NAMES,
}: {
  env?: Record<string, string>;
  models?: readonly string[];
  workers?: readonly Kind[];
} = {}): Promise<TestWeb> {
  const redis = await startRedis();
  const service = await startWebOn({ REDIS_URL: redis.url, ...env }, models, workers);
  return {
    ...service,
    redis,
    async stop() {
      await service.stop();
      await redis.stop();
    },
  };
}
