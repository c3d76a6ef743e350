import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../src/log.ts';
import { openQueues } from '../../src/queue/queues.ts';
import { connected, connectFailFast } from '../../src/queue/redis.ts';
import { lookUpTasks } from '../../src/queue/task-lookup.ts';
import type { Submission } from '../../src/queue/task-service.ts';
import { submitTasks } from '../../src/queue/task-submission.ts';
import { NO_KEYS } from '../../src/sealing/keyring.ts';
import { newBase, originalName } from '../../src/storage/names.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const { logger } = createLog('test', 'silent');
const TTL_SECONDS = 600;

/** A web process's side of the queue. */
async function openSide(url: string) {
  const redis = connectFailFast({ url, caFile: undefined }, logger);
  await connected(redis, 3000);
  const queues = openQueues(redis);
  const lookup = lookUpTasks(redis, queues, TTL_SECONDS, NO_KEYS);
  return {
    queues,
    submit: submitTasks(redis, queues, lookup, TTL_SECONDS),
    async stop() {
      await Promise.all(Object.values(queues).map((queue) => queue.close().catch(() => undefined)));
      redis.disconnect();
    },
  };
}

function submission(key: string | undefined, fingerprint = 'f'): Submission & { discarded: number } {
  const base = newBase();
  const made = {
    kind: 'face',
    media: 'image',
    owner: null,
    requestId: randomUUID(),
    base,
    file: { name: originalName(base, 'jpg'), mime: 'image/jpeg', bytes: 1, sha256: '0', width: 1, height: 1 },
    annotated: null,
    options: { model: 'yunet', confidence: 0.6, nms: 0.3, max_detections: 100, annotate: 'false', priority: 5 },
    idempotency: key === undefined ? undefined : { key, fingerprint },
    discarded: 0,
    async discardFile() {
      made.discarded++;
    },
  } satisfies Submission & { discarded: number };
  return made;
}

const nothingAgainst = async () => undefined;

describe('a submission whose answer from Redis is lost', () => {
  let redis: TestRedis;
  let path: TcpProxy;
  let slow: Awaited<ReturnType<typeof openSide>>;
  let quick: Awaited<ReturnType<typeof openSide>>;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());

  beforeEach(async () => {
    path = await startTcpProxy({ path: redis.socket });
    slow = await openSide(path.url);
    quick = await openSide(redis.url);
  });
  afterEach(async () => {
    path.letThrough();
    await Promise.all([slow.stop(), quick.stop()]);
    await path.stop();
  });

  const jobs = async () => (await quick.queues.face.getJobs(['prioritized'])).map(({ data }) => data.file.name);

  /** The queue takes the task, and whoever made it does not hear of it. */
  async function loseAnswer(made: Submission): Promise<void> {
    const submitted = slow.submit(made, async () => path.holdReplies());
    await Promise.all([
      expect(submitted).rejects.toThrow(),
      waitFor('the task', async () => (await jobs()).includes(made.file.name)),
    ]);
  }

  it('is taken back with its file', async () => {
    const made = submission(undefined);
    await loseAnswer(made);
    expect(made.discarded).toBe(1);
    await waitFor('the task to be gone', async () => !(await jobs()).includes(made.file.name));
  });

  it('is taken back under an idempotency key, too, which is free again for anything', async () => {
    const made = submission('free-again');
    await loseAnswer(made);
    expect(made.discarded).toBe(0);
    path.letThrough();
    await waitFor('the file to be gone', () => made.discarded === 1);
    expect(await jobs()).not.toContain(made.file.name);
    const other = submission('free-again', 'another request');
    expect((await quick.submit(other, nothingAgainst)).created).toBe(true);
  });

  it('stays with its file once another web process has told the client of it', async () => {
    const made = submission('told');
    await loseAnswer(made);
    const again = submission('told');
    const { taskId, created } = await quick.submit(again, nothingAgainst);
    expect([created, again.discarded]).toEqual([false, 1]);
    path.letThrough();
    // The next one over the slow path comes after what was in doubt.
    await waitFor('Redis', () => slow.submit(submission(undefined), nothingAgainst).catch(() => undefined));
    expect(await quick.queues.face.getJob(taskId)).toMatchObject({ data: { file: { name: made.file.name } } });
    expect(made.discarded).toBe(0);
  });
});

describe('a submission that is refused', () => {
  it('gives its idempotency key up and discards its file', async () => {
    const redis = await startRedis();
    const side = await openSide(redis.url);
    try {
      const full = submission('refused');
      await expect(side.submit(full, () => Promise.reject(new Error('full')))).rejects.toThrow('full');
      expect(full.discarded).toBe(1);
      const other = submission('refused', 'another request');
      expect((await side.submit(other, nothingAgainst)).created).toBe(true);
      const same = submission('refused');
      await expect(side.submit(same, nothingAgainst)).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' });
      expect([other.discarded, same.discarded]).toEqual([0, 1]);
    } finally {
      await side.stop();
      await redis.stop();
    }
  });
});
