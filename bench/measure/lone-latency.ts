import type { Kind } from '../../src/contract/kinds.ts';
import type { Context } from '../context.ts';
import { startLoadGenerator } from '../load/generate-load.ts';
import { startRawLanes } from '../raw/raw-lanes.ts';
import { atMost, median, percentile, rounded, tell } from '../report.ts';
import { startService } from '../service.ts';
import { warmUp } from '../warm-up.ts';

/** Between two pictures, so that each comes to an idle service. */
const PAUSE_MS = 40;
/** What queue, HTTP and processes may add, in ms. */
const MOST_ADDED_MS = 15;

async function measureKind(kind: Kind, context: Context) {
  const { quick, models, pictures } = context;
  const [rounds, each] = quick ? [2, 10] : [4, 20];
  const generator = startLoadGenerator();
  const lanes = await startRawLanes(1, kind, models[kind], pictures.fullHd);
  const service = await startService({ workers: [kind], environment: { WORKER_CONCURRENCY: String(context.slots) } });
  try {
    const post = (requests: number) =>
      generator.run({
        url: service.url,
        kind,
        pictures: pictures.fullHd.paths,
        pauseMs: PAUSE_MS,
        until: { requests },
      });
    await warmUp(service, generator, kind, context);
    await post(each);
    const raw: number[] = [];
    const served: number[] = [];
    for (let round = 0; round < rounds; round++) {
      raw.push(...(await lanes.times('detect', (each * PAUSE_MS * 2) / 1000, PAUSE_MS)));
      served.push(...(await post(each)).latenciesMs);
    }
    const rawMs = median(raw);
    const servedMs = median(served);
    tell(`lone ${kind} picture: ${servedMs.toFixed(1)} ms from POST to SUCCESS, ${rawMs.toFixed(1)} ms raw`);
    return {
      model: models[kind].name,
      pictures: served.length,
      raw_ms: rounded(rawMs),
      post_to_success_ms: { p50: atMost(servedMs, rawMs + MOST_ADDED_MS), p95: rounded(percentile(served, 0.95)) },
      added_ms: rounded(servedMs - rawMs),
    };
  } finally {
    await Promise.all([generator.close(), lanes.close(), service.stop()]);
  }
}

/** (e) time from POST to SUCCESS of one lone 1920x1080 picture, in alternation with the bare detection. */
export async function measureLoneLatency(context: Context) {
  return { face: await measureKind('face', context), object: await measureKind('object', context) };
}
