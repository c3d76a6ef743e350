import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startProgram } from './child.ts';
import { freePort } from './service.ts';
import { tempDir } from './temp.ts';

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

/** Starts an object store that speaks S3, with one bucket, in a process of its own. */
export async function startBucket(): Promise<TestBucket> {
  const folder = tempDir('s3');
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const objects = join(folder, BUCKET, PREFIX);
  const options = ['-d', folder, '-a', '127.0.0.1', '-p', String(port), '-s', '--configure-bucket', BUCKET];
  const server = await startProgram(
    'the object store',
    [process.execPath, '--no-deprecation', SERVER, ...options],
    async () => (await fetch(endpoint)).status > 0,
    { timeoutMs: 20_000 },
  );
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
    freeze: () => server.signal('SIGSTOP'),
    thaw: () => server.signal('SIGCONT'),
    kill9: server.kill9,
    restart: server.restart,
    async stop() {
      await server.kill9();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
