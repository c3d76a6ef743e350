import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PREFIX } from '../../src/queue/keys.ts';
import { call, ended, getTask, post, submit, taskIn } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture } from '../support/pictures.ts';
import { type PortServer, startCluster, type TestCluster } from '../support/redis-servers.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWebOn, type TestWeb } from '../support/web.ts';
import { expectWholeApi } from '../support/whole-api.ts';

describe.skipIf(!requireShared())('a Redis Cluster', () => {
  let cluster: TestCluster;
  let web: Omit<TestWeb, 'redis'>;
  beforeAll(async () => {
    cluster = await startCluster(PREFIX, 'of-the-cluster');
    web = await startWebOn({ REDIS_URL: cluster.url, API_RATE_LIMIT: '5000 per hour' });
  });
  afterAll(async () => {
    signalAll(lanePids(), 'SIGCONT');
    await web?.stop();
    await cluster?.stop();
  });

  const file = goodPicture();
  const back = { timeoutMs: 30_000, intervalMs: 200 };
  const acceptedAgain = () =>
    waitFor(
      'web to accept tasks again',
      async () => {
        const answer = await post(web.url, 'face/image', { file });
        if (answer.status === 202) return String(answer.body.data.task_id);
        expect([answer.status, answer.body.error_code]).toEqual([503, 'QUEUE_UNAVAILABLE']);
        expect(answer.ms).toBeLessThan(2500);
        return undefined;
      },
      back,
    );

  it('serves everything', () => expectWholeApi(web));

  it('keeps all keys in one slot', async () => {
    const sizes = await Promise.all(cluster.nodes.slice(0, 3).map((node) => node.client().dbsize()));
    expect(sizes.filter((size) => size > 0)).toHaveLength(1);
    expect(await cluster.owner.client().dbsize()).toBeGreaterThan(0);
  });

  it('that has lost another shard answers 503, and goes on when it is back', async () => {
    const other = cluster.nodes.find((node) => node !== cluster.owner && node !== cluster.replica) as PortServer;
    await other.kill9();
    await waitFor('the cluster to be down', async () => (await call(`${web.url}/api/health`)).status === 503, back);
    const refused = await post(web.url, 'face/image', { file });
    expect([refused.status, refused.body.error_code]).toEqual([503, 'QUEUE_UNAVAILABLE']);
    expect(refused.ms).toBeLessThan(2500);
    await other.restart();
    expect((await ended(web.url, await acceptedAgain())).state).toBe('SUCCESS');
  });

  it('goes on where the node with the keys dies in the middle of tasks', async () => {
    const done = await submit(web.url, 'face/image', { file });
    await ended(web.url, done);
    signalAll(lanePids(), 'SIGSTOP');
    const running = await submit(web.url, 'object/image', { file });
    await taskIn(web.url, running, ['PROCESSING']);
    const waiting = await Promise.all(Array.from({ length: 10 }, () => submit(web.url, 'object/image', { file })));
    const owner = cluster.owner.client();
    await waitFor('the replica to have everything', async () => {
      const info = await owner.info('replication');
      return info.includes(`offset=${/^master_repl_offset:(\d+)/m.exec(info)?.[1]},`);
    });
    await cluster.owner.kill9();
    const after = await acceptedAgain();
    signalAll(lanePids(), 'SIGCONT');
    for (const id of [...waiting, after, running]) {
      expect((await taskIn(web.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 })).state).toBe('SUCCESS');
    }
    expect((await getTask(web.url, done)).state).toBe('SUCCESS');

    // It comes back as a replica and is made the master again: clients follow without a restart.
    await cluster.owner.restart();
    await waitFor(
      'the node to have its keys and its slot again',
      async () => {
        const client = cluster.owner.client();
        await client.call('CLUSTER', 'FAILOVER').catch(() => undefined);
        return /role:master/.test(await client.info('replication'));
      },
      { timeoutMs: 30_000, intervalMs: 1000 },
    );
    expect((await ended(web.url, await acceptedAgain())).state).toBe('SUCCESS');
    const cancelled = await submit(web.url, 'face/image', { file });
    await ended(web.url, cancelled);
  });
});
