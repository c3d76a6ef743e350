import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { z } from 'zod';
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

const Sealed = z.object({ id: z.string(), worker: z.string(), by: z.string(), order: WorkerOrder });

/** How an order went, with a sentence that says why where it was not obeyed. */
export const OrderOutcome = z.object({ applied: z.boolean(), message: z.string() });
export type OrderOutcome = z.infer<typeof OrderOutcome>;

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
): Promise<OrderOutcome | undefined> {
  const id = randomUUID();
  await redis.publish(CHANNELS.orders, JSON.stringify({ id, worker: workerId, by, order }));
  const until = Date.now() + ANSWER_LIMIT_MS;
  while (Date.now() < until) {
    await sleep(LOOK_EVERY_MS);
    const reply = await redis.getdel(KEYS.orderReply(id));
    if (reply !== null) return OrderOutcome.parse(JSON.parse(reply));
  }
  return undefined;
}

/** Obeys orders to this worker, one at a time, and answers each. */
export async function obeyOrders(
  redis: Redis,
  subscriber: Redis,
  workerId: string,
  obey: (order: WorkerOrder, by: string) => OrderOutcome | Promise<OrderOutcome>,
  log: Logger,
): Promise<void> {
  let last: Promise<unknown> = Promise.resolve();

  async function handle(text: string): Promise<void> {
    const sealed = Sealed.safeParse(JSON.parse(text)).data;
    if (sealed === undefined || sealed.worker !== workerId) return;
    const { id, by, order } = sealed;
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
