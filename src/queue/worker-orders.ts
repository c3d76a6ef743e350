import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { ActionOutcome } from '../contract/admin.ts';
import type { Logger } from '../log.ts';
import { CHANNELS, KEYS } from './keys.ts';

/** What an operator may ask of one worker. */
export const WorkerOrder = z.discriminatedUnion('do', [
  z.object({ do: z.literal('drain') }),
  z.object({ do: z.literal('resume') }),
  z.object({ do: z.literal('restart') }),
  z.object({ do: z.literal('resize'), concurrency: z.int().min(1).max(256) }),
]);
export type WorkerOrder = z.infer<typeof WorkerOrder>;

const AddressedOrder = z.object({ id: z.string(), worker: z.string(), by: z.string(), order: WorkerOrder });

/** How long one waits for the worker's answer. */
const ANSWER_LIMIT_MS = 1900;
const LOOK_EVERY_MS = 40;
const REPLY_SECONDS = 30;

/**
 * Sends an order to the worker process with this id.
 *
 * @returns what it answered, undefined where it did not within two seconds
 */
export async function giveOrder(
  redis: Redis,
  workerId: string,
  order: WorkerOrder,
  by: string,
): Promise<ActionOutcome | undefined> {
  const id = randomUUID();
  await redis.publish(CHANNELS.orders, JSON.stringify({ id, worker: workerId, by, order }));
  const until = Date.now() + ANSWER_LIMIT_MS;
  while (Date.now() < until) {
    await sleep(LOOK_EVERY_MS);
    const late = new AbortController();
    const inTime = sleep(Math.max(1, until - Date.now()), null, { signal: late.signal }).catch(() => null);
    const reply = await Promise.race([redis.get(KEYS.orderReply(id)), inTime]).finally(() => late.abort());
    if (reply !== null) return ActionOutcome.parse(JSON.parse(reply));
  }
  return undefined;
}

/** Obeys orders to this worker, one at a time, and answers each. */
export async function obeyOrders(
  redis: Redis,
  subscriber: Redis,
  workerId: string,
  obey: (order: WorkerOrder, by: string) => ActionOutcome | Promise<ActionOutcome>,
  log: Logger,
): Promise<void> {
  let last: Promise<unknown> = Promise.resolve();

  async function handle(text: string): Promise<void> {
    const addressed = AddressedOrder.safeParse(JSON.parse(text)).data;
    if (addressed === undefined || addressed.worker !== workerId) return;
    const { id, by, order } = addressed;
    const outcome = await obey(order, by);
    log.info({ order, by, ...outcome }, 'order from the dashboard');
    await redis.set(KEYS.orderReply(id), JSON.stringify(outcome), 'EX', REPLY_SECONDS);
  }

  subscriber.on('message', (channel: string, text: string) => {
    if (channel !== CHANNELS.orders) return;
    last = last.then(() =>
      handle(text).catch((error: unknown) => log.warn({ err: error }, 'an order could not be obeyed')),
    );
  });
  await subscriber.subscribe(CHANNELS.orders);
}
