import process from 'node:process';
import { type ActionOutcome, applied, notApplied } from '../contract/admin.ts';
import { SLOT_BYTES } from '../machine-limits.ts';
import type { WorkerOrder } from '../queue/worker-orders.ts';
import type { Consumer } from './consumer.ts';

/** The answer is on its way before the worker is, in ms. */
const RESTART_AFTER_MS = 100;

/** The worker as an order finds it. */
export type OrderedWorker = {
  /** Undefined as long as it takes no tasks. */
  consumer: Consumer | undefined;
  /** On its way out. */
  stopping: boolean;
  concurrency: number;
  isDrained: boolean;
  setDrained(on: boolean): void;
  restart(): void;
};

function resize(worker: OrderedWorker, consumer: Consumer, wanted: number): ActionOutcome {
  const { concurrency } = worker;
  if (wanted === concurrency) return notApplied(`The worker has ${wanted} slots already.`);
  const needed = (wanted - concurrency) * SLOT_BYTES;
  const free = process.availableMemory();
  if (needed > free) {
    const [need, have] = [needed, free].map((bytes) => Math.round(bytes / 2 ** 20));
    return notApplied(
      `There is not enough memory for ${wanted} slots: they need about ${need} MB more, ${have} MB are free.`,
    );
  }
  consumer.resize(wanted);
  return applied(
    wanted > concurrency
      ? `From ${concurrency} to ${wanted} slots; the new ones join once their models are loaded.`
      : `From ${concurrency} to ${wanted} slots; what runs now is finished.`,
  );
}

/** Does what an operator wants of this worker, or says why not. */
export function followOrder(order: WorkerOrder, worker: OrderedWorker): ActionOutcome {
  if (worker.stopping) return notApplied('The worker is stopping already.');
  if (order.do === 'restart') {
    setTimeout(worker.restart, RESTART_AFTER_MS);
    return applied('The worker finishes or gives back what it runs and is started anew.');
  }
  const { consumer } = worker;
  if (consumer === undefined) return notApplied('The worker is still starting; it takes no tasks yet.');
  switch (order.do) {
    case 'drain':
      if (worker.isDrained) return notApplied('The worker is drained already.');
      consumer.rest(true);
      worker.setDrained(true);
      return applied('The worker takes no more tasks and finishes what it runs.');
    case 'resume':
      if (!worker.isDrained) return notApplied('The worker takes tasks already.');
      worker.setDrained(false);
      consumer.rest(false);
      return applied('The worker takes tasks again.');
    case 'resize':
      return resize(worker, consumer, order.concurrency);
  }
}
