import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectFailFast, connectPatient, connectSubscriber, disconnect } from '../../src/queue/redis.ts';
import { ended } from '../support/api.ts';
import { objectTasks } from '../support/object-tasks.ts';
import { DURABLE } from '../support/redis-server.ts';
import { type PortServer, startServer } from '../support/redis-servers.ts';
import { requireShared } from '../support/shared.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWebOn } from '../support/web.ts';

const log = pino({ level: 'silent' });

/** Ms until an attempt succeeds, each of which may fail. */
async function untilWorks(work: () => Promise<unknown>, timeoutMs: number): Promise<number> {
  const startedAt = performance.now();
  await waitFor(
    'it to work again',
    () =>
      work().then(
        () => true,
        () => false,
      ),
    { timeoutMs },
  );
  return performance.now() - startedAt;
}

describe('a Redis that falls silent without closing its connections', () => {
  let server: PortServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    server = await startServer({ lines: DURABLE });
    proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
  });

  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  });

  it('is connected to anew, by those who ask and by those who only listen', async () => {
    const settings = { url: `redis://127.0.0.1:${proxy.port}`, caFile: undefined };
    const failFast = connectFailFast(settings, log);
    const patient = connectPatient(settings, log);
    const subscriber = connectSubscriber(settings, log);
    const clients: Redis[] = [failFast, patient, subscriber];
    await waitFor('the connections', () => clients.every(({ status }) => status === 'ready'));
    const heard: string[] = [];
    subscriber.on('message', (_, text: string) => heard.push(text));
    await subscriber.subscribe('channel');
    proxy.silence();
    const direct = server.client();
    const [quick, slow] = await Promise.all([
      untilWorks(() => failFast.ping(), 10_000),
      untilWorks(() => patient.ping(), 20_000),
      waitFor(
        'the listener to hear again',
        async () => {
          await direct.publish('channel', 'news');
          return heard.length > 0;
        },
        { timeoutMs: 25_000 },
      ),
    ]);
    expect(quick).toBeLessThan(6000);
    expect(slow).toBeLessThan(16_000);
    await Promise.all(clients.map(disconnect));
  });

  it.skipIf(!requireShared())(
    'does not keep an idle worker from later tasks, and an idle one makes no new connections',
    async () => {
      const service = await startWebOn({ REDIS_URL: `redis://127.0.0.1:${proxy.port}` }, ['yolox_nano'], ['object']);
      const { post } = objectTasks(() => service.url);
      await ended(service.url, await post());
      const before = proxy.count();
      // Longer than an idle worker waits for a task at a time, and than a silent server is borne.
      await sleep(14_000);
      expect(proxy.count()).toBe(before);
      proxy.silence();
      let taskId = '';
      await untilWorks(async () => {
        taskId = await post();
      }, 10_000);
      expect(await ended(service.url, taskId)).toMatchObject({ state: 'SUCCESS' });
      await service.stop();
    },
  );
});
