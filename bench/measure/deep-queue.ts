import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { createLog } from '../../src/log.ts';
import { listenForEnds } from '../../src/queue/ended.ts';
import { openQueues } from '../../src/queue/queues.ts';
import { connectPatient, connectSubscriber, disconnect } from '../../src/queue/redis.ts';
import { createTaskService } from '../../src/queue/tasks.ts';
import { NO_KEYS } from '../../src/sealing/keyring.ts';
import { newBase, originalName } from '../../src/storage/names.ts';
import type { Context } from '../context.ts';
import { type Connection, openConnection } from '../load/connection.ts';
import { prepareGet, preparePost } from '../load/requests.ts';
import { atMost, median, rounded, tell } from '../report.ts';
import { type Service, startService } from '../service.ts';

const MOST_SLOWER = 1.2;
const AT_ONCE = 500;
const DAY_SECONDS = 86_400;

/** Puts tasks into a queue that nobody works off, as the web process does it but without HTTP. */
async function fill(redisUrl: string, model: string, tasks: number): Promise<void> {
  const { logger } = createLog('bench', 'silent');
  const settings = { url: redisUrl, caFile: undefined };
  const redis = connectPatient(settings, logger);
  const subscriber = connectSubscriber(settings, logger);
  const queues = openQueues(redis);
  const limits = { resultTtlSeconds: DAY_SECONDS, maxQueueLength: 0, keyring: NO_KEYS };
  const service = createTaskService(redis, queues, listenForEnds(subscriber), limits, logger);
  const submit = () => {
    const base = newBase();
    return service.submit({
      kind: 'face',
      media: 'image',
      owner: null,
      requestId: randomUUID(),
      base,
      file: {
        name: originalName(base, 'jpg'),
        mime: 'image/jpeg',
        bytes: 300_000,
        sha256: '0'.repeat(64),
        width: 1920,
        height: 1080,
      },
      annotated: null,
      options: { model, confidence: 0.6, nms: 0.3, max_detections: 100, annotate: 'false', priority: 5 },
      idempotency: undefined,
      discardFile: async () => undefined,
    });
  };
  try {
    await redis.ping();
    for (let done = 0; done < tasks; done += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, tasks - done) }, submit));
    }
    await untilCalm(redis);
  } finally {
    await Promise.all([queues.face.close(), queues.object.close()]);
    await Promise.all([disconnect(redis), disconnect(subscriber)]);
  }
}

/** Waits until Redis no longer rewrites its file, which it starts by itself when that has doubled. */
async function untilCalm(redis: Redis): Promise<void> {
  while (/^aof_rewrite_(in_progress|scheduled):1/m.test(await redis.info('persistence'))) {
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

type Times = { postMs: number[]; pollMs: number[] };

async function probe(connection: Connection, post: Buffer, times: Times): Promise<void> {
  const postedAt = performance.now();
  const accepted = await connection.send(post);
  times.postMs.push(performance.now() - postedAt);
  const taskId = accepted.status === 202 ? JSON.parse(accepted.body).data.task_id : undefined;
  const poll = prepareGet(`/api/task/${taskId}`);
  const polledAt = performance.now();
  const polled = await connection.send(poll);
  times.pollMs.push(performance.now() - polledAt);
  if (polled.status !== 200) throw new Error(`the service answered ${accepted.body} and ${polled.body}`);
}

/**
 * POST to 202 and a poll with 100,000 tasks waiting, in turn with the same on a service whose queue is empty: so both
 * meet the same machine. Nothing works off the queues.
 */
export async function measureDeepQueue(context: Context) {
  const [tasks, probes] = context.quick ? [10_000, 150] : [100_000, 500];
  const services: Service[] = [];
  try {
    for (let number = 0; number < 2; number++) services.push(await startService({ workers: [] }));
    const [empty, full] = services as [Service, Service];
    const started = performance.now();
    await fill(full.redisUrl, context.models.face.name, tasks);
    const fillSeconds = (performance.now() - started) / 1000;
    tell(`deep queue: ${tasks} tasks queued in ${fillSeconds.toFixed(1)} s`);
    const picture = context.pictures.thumbnail.paths[0] ?? '';
    const post = await preparePost('face', picture, { wait: false });
    const connections = await Promise.all([openConnection(empty.url), openConnection(full.url)]);
    const times: [Times, Times] = [
      { postMs: [], pollMs: [] },
      { postMs: [], pollMs: [] },
    ];
    const warm: Times = { postMs: [], pollMs: [] };
    for (let number = 0; number < probes; number++) {
      const warming = number < probes / 3;
      await probe(connections[0], post, warming ? warm : times[0]);
      await probe(connections[1], post, warming ? warm : times[1]);
    }
    for (const connection of connections) connection.close();
    const compare = (pick: (of: Times) => number[]) => {
      const [shallow, deep] = times.map((of) => median(pick(of))) as [number, number];
      return { empty_ms: rounded(shallow), deep_ms: rounded(deep), ratio: atMost(deep / shallow, MOST_SLOWER, 3) };
    };
    const result = { tasks, post_to_202: compare((of) => of.postMs), poll: compare((of) => of.pollMs) };
    tell(`deep queue: POST x${result.post_to_202.ratio.value}, poll x${result.poll.ratio.value}`);
    return result;
  } finally {
    await Promise.all(services.map((service) => service.stop()));
  }
}
