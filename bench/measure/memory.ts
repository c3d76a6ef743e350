import { setTimeout as sleep } from 'node:timers/promises';
import { KIND_NAMES } from '../../src/contract/kinds.ts';
import type { Context } from '../context.ts';
import { type LoadGenerator, startLoadGenerator } from '../load/generate-load.ts';
import { rssMb } from '../process-figures.ts';
import { atMost, median, rounded, tell } from '../report.ts';
import { type Service, startService } from '../service.ts';

const MOST_GROWTH = 0.05;
const MOST_MB = { web: 200, worker: 150, lane: 350 } as const;

/** Tasks of each kind between two lines of progress. */
const CHUNK = 300;

/** Resident memory in MiB of each process, the median of some looks while nothing runs. */
async function look(service: Service): Promise<Map<string, number>> {
  const pids = new Map<string, number>([
    ['web', service.pids.web],
    ['redis', service.pids.redis],
  ]);
  for (const kind of KIND_NAMES) {
    const worker = service.pids.workers[kind];
    if (worker !== undefined) pids.set(`worker_${kind}`, worker);
    for (const [index, pid] of service.lanes(kind).entries()) pids.set(`lane_${kind}_${index + 1}`, pid);
  }
  const looks: [string, number][][] = [];
  for (let number = 0; number < 5; number++) {
    await sleep(300);
    looks.push([...pids].map(([name, pid]) => [name, rssMb(pid)]));
  }
  return new Map(
    [...pids.keys()].map((name, place) => [name, median(looks.map((found) => found[place]?.[1] ?? Number.NaN))]),
  );
}

function describe(name: string, first: number, last: number) {
  // Redis keeps every result for RESULT_TTL: it has to grow with the number of tasks.
  if (name === 'redis') return { first_mb: rounded(first, 1), last_mb: rounded(last, 1) };
  const part = name.split('_', 1)[0] as keyof typeof MOST_MB;
  return {
    first_mb: rounded(first, 1),
    last_mb: atMost(last, MOST_MB[part], 1),
    growth: atMost((last - first) / first, MOST_GROWTH, 3),
  };
}

/**
 * (g) resident memory of each process after 2,000 tasks of each kind against after 200. No process is replaced
 * meanwhile, which the service would do after 1,000 tasks of a detection process.
 */
export async function measureMemory(context: Context) {
  const [few, many] = context.quick ? [40, 160] : [200, 2000];
  const generators: LoadGenerator[] = KIND_NAMES.map(() => startLoadGenerator());
  const service = await startService({
    environment: { WORKER_CONCURRENCY: String(context.slots), WORKER_MAX_TASKS_PER_CHILD: '1000000' },
  });

  async function run(tasks: number): Promise<void> {
    for (let done = 0; done < tasks; done += CHUNK) {
      await Promise.all(
        generators.map((generator, index) =>
          generator.run({
            url: service.url,
            kind: KIND_NAMES[index] ?? 'face',
            pictures: context.pictures.fullHd.paths,
            inFlight: context.slots * 2,
            until: { requests: Math.min(CHUNK, tasks - done) },
          }),
        ),
      );
      tell(`memory: ${done + Math.min(CHUNK, tasks - done)} of ${tasks} tasks of each kind`);
    }
  }

  try {
    await run(few);
    const first = await look(service);
    await run(many - few);
    const last = await look(service);
    const processes = [...first].map(([name, mb]) => [name, describe(name, mb, last.get(name) ?? Number.NaN)]);
    return { tasks_of_each_kind: [few, many], processes: Object.fromEntries(processes) };
  } finally {
    await Promise.all([...generators.map((generator) => generator.close()), service.stop()]);
  }
}
