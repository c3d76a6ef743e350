import type { Context } from '../context.ts';
import { startLoadGenerator } from '../load/generate-load.ts';
import { atMost, percentile, rounded, tell } from '../report.ts';
import { startService } from '../service.ts';
import { warmUp } from '../warm-up.ts';

const IN_FLIGHT = 4;
const MOST_P95_MS = 50;

async function waitingTasks(url: string): Promise<number> {
  const response = await fetch(`${url}/api/health`);
  const { data } = (await response.json()) as { data: { services: { face_detection: { waiting: number } } } };
  return data.services.face_detection.waiting;
}

/** (d) POST to 202 with four uploads of 1 MB in flight while every detection process is busy. */
export async function measureAcceptLatency(context: Context) {
  const requests = context.quick ? 100 : 400;
  const generator = startLoadGenerator();
  const service = await startService({
    workers: ['face'],
    environment: { WORKER_CONCURRENCY: String(context.slots) },
    profiles: context.profiles,
  });
  try {
    const post = (count: number, inFlight: number) =>
      generator.run({
        url: service.url,
        kind: 'face',
        pictures: context.pictures.megabyte.paths,
        wait: false,
        inFlight,
        until: { requests: count },
      });
    await warmUp(service, generator, 'face', context);
    // As long as tasks wait, every detection process is busy.
    await post(context.slots * 50, IN_FLIGHT);
    const before = await waitingTasks(service.url);
    const { latenciesMs, cpuMs, total } = await post(requests, IN_FLIGHT);
    const after = await waitingTasks(service.url);
    if (before === 0 || after === 0) throw new Error('the detection processes were not busy all the time');
    const p95 = percentile(latenciesMs, 0.95);
    tell(`POST to 202 under load: p95 ${p95.toFixed(1)} ms of ${requests}, ${after} waiting afterwards`);
    return {
      uploads: requests,
      in_flight: IN_FLIGHT,
      ms: {
        p50: rounded(percentile(latenciesMs, 0.5)),
        p95: atMost(p95, MOST_P95_MS),
        p99: rounded(percentile(latenciesMs, 0.99)),
      },
      waiting: { before, after },
      load_generator_cpu_ms: rounded(cpuMs / total),
    };
  } finally {
    await Promise.all([generator.close(), service.stop()]);
  }
}
