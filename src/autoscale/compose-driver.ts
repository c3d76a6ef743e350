import type { Kind } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import type { Driver } from './autoscaler.ts';
import { LABELS, replicaOf } from './compose-replica.ts';
import type { DockerEngine, ListedContainer } from './docker-engine.ts';

/** The Compose service whose containers are the workers of a kind. */
export const serviceOf = (kind: Kind) => `${kind}-worker`;

const numberOf = ({ Labels }: ListedContainer) => Number(Labels[LABELS.number] ?? 0);
const runs = ({ State }: ListedContainer) => State === 'running' || State === 'restarting';

/** The lowest numbers that are not taken. */
function freeNumbers(taken: ReadonlySet<number>, count: number): number[] {
  const free: number[] = [];
  for (let number = 1; free.length < count; number++) if (!taken.has(number)) free.push(number);
  return free;
}

/**
 * Scales the worker services of a Compose project. A further container is made like one that runs; those with the highest
 * numbers go first, drain in the time that Compose would give them, and are removed.
 *
 * @param graceSeconds for containers that do not say how long they may take to stop
 */
export function createComposeDriver(
  engine: DockerEngine,
  project: string,
  graceSeconds: number,
  log: Logger,
): Driver & { idle(): Promise<void> } {
  const leaving = new Map<string, Promise<void>>();

  async function containers(kind: Kind): Promise<ListedContainer[]> {
    const found = await engine.list([`${LABELS.project}=${project}`, `${LABELS.service}=${serviceOf(kind)}`]);
    return found.filter(({ Labels }) => Labels[LABELS.oneOff]?.toLowerCase() !== 'true');
  }

  const staying = (all: readonly ListedContainer[]) =>
    all.filter((container) => runs(container) && !leaving.has(container.Id)).sort((a, b) => numberOf(a) - numberOf(b));

  async function add(kind: Kind, all: readonly ListedContainer[], count: number): Promise<void> {
    const [first] = staying(all);
    if (first === undefined) {
      throw new Error(`no container of ${serviceOf(kind)} runs that another one could be made like; start one`);
    }
    const template = await engine.inspect(first.Id);
    for (const number of freeNumbers(new Set(all.map(numberOf)), count)) {
      const replica = replicaOf(template, number);
      await engine.run(replica);
      log.info({ container: replica.name }, 'worker container started');
    }
  }

  async function drain(id: string): Promise<void> {
    const { Name, Config } = await engine.inspect(id);
    await engine.stop(id, Config.StopTimeout ?? graceSeconds);
    await engine.remove(id);
    log.info({ container: Name.replace(/^\//, '') }, 'worker container drained and removed');
  }

  function dismiss({ Id }: ListedContainer): void {
    const done = drain(Id)
      .catch((error: unknown) => log.warn({ err: error }, 'a worker container could not be removed'))
      .finally(() => leaving.delete(Id));
    leaving.set(Id, done);
  }

  return {
    count: async (kind) => staying(await containers(kind)).length,
    async scale(kind, workers) {
      const all = await containers(kind);
      const now = staying(all);
      if (workers > now.length) await add(kind, all, workers - now.length);
      for (const container of now.slice(workers)) dismiss(container);
    },
    /** Resolves when none is on its way out. */
    async idle() {
      await Promise.all(leaving.values());
    },
  };
}
