import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ended, getTask, post, submit, taskIn } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture } from '../support/pictures.ts';
import { type PortServer, type SentinelSet, startSentinelSet } from '../support/redis-servers.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWebOn, type TestWeb } from '../support/web.ts';
import { expectWholeApi } from '../support/whole-api.ts';

/** All that the master has accepted is with its replica. */
async function replicated(master: PortServer): Promise<void> {
  const client = master.client();
  await waitFor('the replica to have everything', async () => {
    const info = await client.info('replication');
    const offset = /^master_repl_offset:(\d+)/m.exec(info)?.[1];
    return offset !== undefined && info.includes(`offset=${offset},`);
  });
}

describe.skipIf(!requireShared())('Redis behind sentinels', () => {
  let set: SentinelSet;
  let web: Omit<TestWeb, 'redis'>;
  beforeAll(async () => {
    set = await startSentinelSet('of-the-servers');
    web = await startWebOn({ REDIS_URL: set.url, API_RATE_LIMIT: '5000 per hour' });
  });
  afterAll(async () => {
    signalAll(lanePids(), 'SIGCONT');
    await web?.stop();
    await set?.stop();
  });

  it('serves everything', () => expectWholeApi(web));

  const fail = {
    dies: (master: PortServer) => master.kill9(),
    hangs: async (master: PortServer) => void process.kill(master.pid(), 'SIGSTOP'),
  };

  it.each(['dies', 'hangs'] as const)('goes on where the master %s in the middle of tasks', async (how) => {
    const file = goodPicture();
    const before = await set.master();
    const done = await submit(web.url, 'face/image', { file });
    await ended(web.url, done);
    signalAll(lanePids(), 'SIGSTOP');
    const running = await submit(web.url, 'face/image', { file });
    await taskIn(web.url, running, ['PROCESSING']);
    const waiting = await Promise.all(
      Array.from({ length: 10 }, (_, index) => submit(web.url, index % 2 ? 'face/image' : 'object/image', { file })),
    );
    await replicated(before);
    await fail[how](before);
    const refused = await post(web.url, 'face/image', { file });
    expect([refused.status, refused.body.error_code]).toEqual([503, 'QUEUE_UNAVAILABLE']);
    expect(refused.ms).toBeLessThan(2500);
    expect((await call(`${web.url}/api/health`)).body.data.status).toBe('down');

    const back = { timeoutMs: 30_000, intervalMs: 200 };
    const after = await waitFor(
      'web to accept tasks again',
      async () => {
        const answer = await post(web.url, 'face/image', { file });
        return answer.status === 202 ? String(answer.body.data.task_id) : undefined;
      },
      back,
    );
    expect((await set.master()).port).not.toBe(before.port);
    signalAll(lanePids(), 'SIGCONT');
    for (const id of [...waiting, after, running]) {
      expect((await taskIn(web.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 })).state).toBe('SUCCESS');
    }
    expect((await getTask(web.url, done)).state).toBe('SUCCESS');
    if (how === 'hangs') return;
    // The old master comes back and is the replica from now on.
    await before.restart();
    await waitFor('a replica', async () => /connected_slaves:1/.test(await (await set.master()).client().info()), back);
    const last = await submit(web.url, 'object/image', { file });
    expect((await ended(web.url, last)).state).toBe('SUCCESS');
  });
});
