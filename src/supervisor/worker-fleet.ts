import type { Driver } from '../autoscale/autoscaler.ts';
import type { Kind } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import type { ServiceProcess } from './service-process.ts';

/**
 * Adds worker processes to the one of each kind that always runs, and takes the newest away again: it drains, and is
 * ended when it has not done so within `graceMs`.
 *
 * @param start makes a further worker of a kind
 * @param all every process of the service; the fleet keeps its own in it
 */
export function createWorkerFleet(
  start: (kind: Kind) => ServiceProcess,
  all: Set<ServiceProcess>,
  graceMs: number,
  log: Logger,
): Driver {
  const extras = new Map<Kind, ServiceProcess[]>();
  const of = (kind: Kind) => extras.get(kind) ?? [];

  function forget(kind: Kind, process: ServiceProcess): void {
    extras.set(
      kind,
      of(kind).filter((one) => one !== process),
    );
  }

  function add(kind: Kind): void {
    const process = start(kind);
    all.add(process);
    extras.set(kind, [...of(kind), process]);
    process.ready.catch((error: unknown) => {
      log.error({ err: error }, 'a further worker could not be started');
      forget(kind, process);
      all.delete(process);
    });
  }

  async function remove(kind: Kind, process: ServiceProcess): Promise<void> {
    forget(kind, process);
    const late = setTimeout(() => process.kill(), graceMs);
    await process.stop();
    clearTimeout(late);
    all.delete(process);
  }

  return {
    count: async (kind) => 1 + of(kind).length,
    async scale(kind, workers) {
      while (1 + of(kind).length < workers) add(kind);
      for (const process of of(kind).slice(Math.max(1, workers) - 1)) {
        remove(kind, process).catch((error: unknown) => log.warn({ err: error }, 'a worker did not end cleanly'));
      }
    },
  };
}
