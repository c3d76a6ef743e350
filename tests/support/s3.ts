import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { freePort } from './service.ts';
import { tempDir } from './temp.ts';
import { waitFor } from './wait-for.ts';

const SERVER = resolve(import.meta.dirname, '../../node_modules/s3rver/bin/s3rver.js');
const BUCKET = 'recognize-test';
const PREFIX = 'files/';

/** How the server names the content of an object in its folder. */
const CONTENT_ENDING = '._S3rver_object';

export type TestBucket = {
  endpoint: string;
  /** Settings that make it a service's storage. */
  env: Record<string, string>;
  /** Where the server keeps its objects. */
  folder: string;
  /** Names of the service's objects, without the prefix and the probe for writing. */
  names(prefix?: string): string[];
  /** Path of the file that holds an object. */
  pathOf(name: string): string;
  /** Stops the server's process as it stands: requests hang. */
  freeze(): void;
  thaw(): void;
  kill9(): Promise<void>;
  /** Starts it again on the same port and objects after kill9. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts an object store that speaks S3, with one bucket, in a process of its own. */
export async function startBucket(): Promise<TestBucket> {
  const folder = tempDir('s3');
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const objects = join(folder, BUCKET, PREFIX);
  let child: ChildProcess;

  async function start(): Promise<void> {
    const options = ['-d', folder, '-a', '127.0.0.1', '-p', String(port), '-s', '--configure-bucket', BUCKET];
    child = spawn(process.execPath, ['--no-deprecation', SERVER, ...options], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const started = child;
    running.add(started);
    started.once('exit', () => running.delete(started));
    await waitFor('the object store', async () => (await fetch(endpoint)).status > 0, { timeoutMs: 20_000 });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  await start();
  return {
    endpoint,
    folder,
    env: {
      STORAGE_URL: `s3://${BUCKET}/${PREFIX}`,
      S3_ENDPOINT: endpoint,
      S3_FORCE_PATH_STYLE: 'true',
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
    },
    names(prefix = PREFIX) {
      try {
        return readdirSync(join(folder, BUCKET, prefix))
          .filter((name) => name.endsWith(CONTENT_ENDING))
          .map((name) => name.slice(0, -CONTENT_ENDING.length))
          .filter((name) => name !== 'probe')
          .sort();
      } catch {
        return [];
      }
    },
    pathOf: (name) => join(objects, `${name}${CONTENT_ENDING}`),
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    kill9: () => end('SIGKILL'),
    restart: start,
    async stop() {
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
