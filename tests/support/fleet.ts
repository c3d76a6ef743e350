import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Task } from '../../src/contract/task.ts';
import { submit, taskIn } from './api.ts';
import { lanePids, signalAll } from './lanes.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { type Home, makeHome, type Service, startService } from './service.ts';
import { sharedPath } from './shared.ts';

export type Worker = Service & {
  lanes(): number[];
  /** Stops its detection processes: tasks that it is given hang. */
  freeze(): void;
  thaw(): void;
};

/** A Redis, a web process and any number of object workers, each a process of its own that a test may kill. */
export type Fleet = {
  redis: TestRedis;
  home: Home;
  web: Service;
  url: string;
  startWeb(): Promise<Service>;
  startWorker(env?: Record<string, string>): Promise<Worker>;
  /** Posts a picture of a dog; answers the id of its task. */
  post(fields?: Record<string, string>): Promise<string>;
  ended(taskId: string, timeoutMs?: number): Promise<Task>;
  /** Posts a task and waits until a frozen worker has it. */
  postHeld(): Promise<string>;
  stop(): Promise<void>;
};

export const DOG_PATH = sharedPath('data/samples/dog.jpg');

export async function startFleet(env: Record<string, string> = {}): Promise<Fleet> {
  const dog = new Uint8Array(readFileSync(DOG_PATH));
  const redis = await startRedis();
  const home = await makeHome({ REDIS_URL: redis.url, WORKER_CONCURRENCY: '1', GRACE_PERIOD: '2', ...env });
  const services: Service[] = [];

  async function start(role: 'web' | 'worker:object', changes: Record<string, string> = {}): Promise<Service> {
    const service = await startService({ home, role, env: changes });
    services.push(service);
    return service;
  }

  const web = await start('web');
  const fleet: Fleet = {
    redis,
    home,
    web,
    url: web.url,
    startWeb: () => start('web'),
    async startWorker(changes) {
      const service = await start('worker:object', changes);
      const lanes = () => lanePids(service.pid);
      return {
        ...service,
        lanes,
        freeze: () => signalAll(lanes(), 'SIGSTOP'),
        thaw: () => signalAll(lanes(), 'SIGCONT'),
      };
    },
    post: (fields = {}) => submit(web.url, 'object/image', { file: dog, fields }),
    ended: (taskId, timeoutMs = 60_000) => taskIn(web.url, taskId, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs }),
    async postHeld() {
      const taskId = await fleet.post();
      await taskIn(web.url, taskId, ['PROCESSING']);
      // Long enough for a living detection process to have taken it.
      await sleep(300);
      return taskId;
    },
    async stop() {
      await Promise.all(services.map((service) => service.stop()));
      await redis.stop();
    },
  };
  return fleet;
}

/** Runs `work` with a fleet of its own, which is stopped in the end. */
export async function withFleet(
  work: (fleet: Fleet) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const fleet = await startFleet(env);
  try {
    await work(fleet);
  } finally {
    await fleet.stop();
  }
}
