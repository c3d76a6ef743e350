import type { Kind } from '../../src/contract/kinds.ts';
import type { ReadyModel } from '../../src/models/catalog.ts';
import type { Context } from '../context.ts';
import { type LoadGenerator, startLoadGenerator } from '../load/generate-load.ts';
import type { PictureSet } from '../pictures.ts';
import { type RawLanes, startRawLanes } from '../raw/raw-lanes.ts';
import { atLeast, atMost, median, percentile, rounded, tell } from '../report.ts';
import { type Service, startService } from '../service.ts';
import { warmUp } from '../warm-up.ts';
import { type CpuUse, cpuBetween, cpuPerTask, cpuSum, readCpu } from './cpu-meter.ts';

/** Requests in flight for each detection process: enough that none ever waits for an upload. */
const IN_FLIGHT_PER_SLOT = 4;
const ALONE_SECONDS = 1;

type Case = {
  name: string;
  kind: Kind;
  model: ReadyModel;
  pictures: PictureSet;
  seconds: number;
  rounds: number;
  /** Pictures per second. */
  least?: number;
  leastRatio?: number;
  /** CPU outside of the detection processes, in ms. */
  mostCpuMs?: number;
  /** Left out of a quick run unless it is asked for by name. */
  slow?: boolean;
};

type ServiceRound = { perSecond: number; tasks: number; latenciesMs: number[]; cpu: CpuUse; generatorCpuMs: number };

type Round = { raw: number | undefined; service: ServiceRound | undefined; sharpMs: number[]; sessionMs: number[] };

/** Which of the two sides are measured. */
export type Sides = { raw: boolean; service: boolean };

function planCases({ pictures, models, quick }: Context): Case[] {
  const usual = quick ? { seconds: 2, rounds: 1 } : { seconds: 7, rounds: 3 };
  const fullHd = { pictures: pictures.fullHd, leastRatio: 0.75, mostCpuMs: 8, ...usual };
  const face = { kind: 'face', model: models.face } as const;
  const cases: Case[] = [
    { name: 'face_1920x1080', ...face, ...fullHd, least: 30 },
    { name: 'object_1920x1080', kind: 'object', model: models.object, ...fullHd },
    { name: 'face_640x480', ...face, pictures: pictures.vga, ...usual, least: 60, slow: true },
    { name: 'face_64x48', ...face, pictures: pictures.thumbnail, ...usual, least: 300 },
  ];
  const { haar } = models;
  if (haar !== undefined) {
    const long = quick ? { seconds: 6, rounds: 1 } : { seconds: 14, rounds: 3 };
    cases.push({
      name: 'haar_1920x1080',
      kind: 'face',
      model: haar,
      pictures: pictures.fullHd,
      ...long,
      leastRatio: 0.95,
      slow: true,
    });
  }
  return cases;
}

async function serviceRound(
  service: Service,
  generator: LoadGenerator,
  { kind, model, pictures, seconds }: Case,
  slots: number,
): Promise<ServiceRound> {
  const before = readCpu(service, kind);
  const outcome = await generator.run({
    url: service.url,
    kind,
    pictures: pictures.paths,
    query: { model: model.name },
    inFlight: slots * IN_FLIGHT_PER_SLOT,
    warmSeconds: seconds / 7,
    until: { seconds },
  });
  const cpu = cpuBetween(before, readCpu(service, kind));
  return {
    perSecond: outcome.completed / outcome.seconds,
    tasks: outcome.total,
    latenciesMs: outcome.latenciesMs,
    cpu,
    generatorCpuMs: outcome.cpuMs,
  };
}

async function runRounds(
  plan: Case,
  lanes: RawLanes | undefined,
  service: Service | undefined,
  generator: LoadGenerator,
  slots: number,
): Promise<Round[]> {
  const rounds: Round[] = [];
  const isNetwork = plan.model.path.endsWith('.onnx');
  for (let number = 1; number <= plan.rounds; number++) {
    const round: Round = { raw: undefined, service: undefined, sharpMs: [], sessionMs: [] };
    if (lanes !== undefined) {
      if (isNetwork) round.sharpMs = await lanes.times('sharp', ALONE_SECONDS);
      round.raw = await lanes.rate(plan.seconds);
      if (isNetwork) round.sessionMs = await lanes.times('session', ALONE_SECONDS);
    }
    if (service !== undefined) round.service = await serviceRound(service, generator, plan, slots);
    const shown = [round.raw, round.service?.perSecond].map((rate) => rate?.toFixed(1) ?? '-').join(' raw, ');
    tell(`${plan.name} ${number}/${plan.rounds}: ${shown} through the service, pictures/s`);
    rounds.push(round);
  }
  return rounds;
}

function describeRaw(rounds: readonly Round[], slots: number) {
  const rates = rounds.flatMap(({ raw }) => raw ?? []);
  const perSecond = median(rates);
  const sharpMs = median(rounds.flatMap((round) => round.sharpMs));
  const sessionMs = median(rounds.flatMap((round) => round.sessionMs));
  const possible = (slots * 1000) / (sharpMs + sessionMs);
  return {
    per_second: rounded(perSecond),
    rounds: rates.map((rate) => rounded(rate)),
    ...(Number.isNaN(possible)
      ? {}
      : {
          sharp_alone_ms: rounded(sharpMs),
          session_alone_ms: rounded(sessionMs),
          share_of_possible: atLeast(perSecond / possible, 0.85, 3),
        }),
  };
}

function describeService(plan: Case, rounds: readonly ServiceRound[]) {
  const perSecond = median(rounds.map((round) => round.perSecond));
  const tasks = rounds.reduce((sum, round) => sum + round.tasks, 0);
  const cpu = cpuPerTask(cpuSum(rounds.map((round) => round.cpu)), tasks);
  const outside = cpu.web + cpu.worker + cpu.redis;
  const latencies = rounds.flatMap((round) => round.latenciesMs);
  return {
    service: {
      per_second: plan.least === undefined ? rounded(perSecond) : atLeast(perSecond, plan.least),
      rounds: rounds.map((round) => rounded(round.perSecond)),
      tasks,
      latency_ms: { p50: rounded(percentile(latencies, 0.5)), p95: rounded(percentile(latencies, 0.95)) },
    },
    cpu_ms_per_task: {
      ...cpu,
      outside_detection: plan.mostCpuMs === undefined ? rounded(outside) : atMost(outside, plan.mostCpuMs),
      load_generator: rounded(rounds.reduce((sum, round) => sum + round.generatorCpuMs, 0) / tasks),
    },
  };
}

async function runCase(plan: Case, context: Context, sides: Sides) {
  const generator = startLoadGenerator();
  let lanes: RawLanes | undefined;
  let service: Service | undefined;
  try {
    if (sides.raw) lanes = await startRawLanes(context.slots, plan.kind, plan.model, plan.pictures);
    if (sides.service) {
      service = await startService({
        workers: [plan.kind],
        environment: { WORKER_CONCURRENCY: String(context.slots), FACE_MODEL: 'auto' },
        profiles: context.profiles,
      });
      await warmUp(service, generator, plan.kind, context);
      await serviceRound(service, generator, { ...plan, seconds: plan.seconds / 3 }, context.slots);
    }
    const rounds = await runRounds(plan, lanes, service, generator, context.slots);
    const served = rounds.flatMap((round) => round.service ?? []);
    const ratio = median(rounds.flatMap(({ raw, service: done }) => (raw && done ? done.perSecond / raw : [])));
    return {
      model: plan.model.name,
      ...(sides.raw ? { raw: describeRaw(rounds, context.slots) } : {}),
      ...(sides.service ? describeService(plan, served) : {}),
      ...(Number.isNaN(ratio)
        ? {}
        : { ratio: plan.leastRatio === undefined ? rounded(ratio, 3) : atLeast(ratio, plan.leastRatio, 3) }),
    };
  } finally {
    await Promise.all([generator.close(), lanes?.close(), service?.stop()]);
  }
}

/**
 * (a) pictures per second of as many bare processes as there are cores; (b) the same pictures through HTTP, Redis and
 * as many detection processes, load generator included; (c) the ratio, the median of alternate rounds; (f) CPU time of
 * each part for one task.
 *
 * @param only names of the cases to run, all when undefined
 */
export async function measureThroughput(context: Context, sides: Sides, only: readonly string[] | undefined) {
  const results: Record<string, Awaited<ReturnType<typeof runCase>>> = {};
  for (const plan of planCases(context)) {
    const wanted = only?.includes(plan.name) ?? !(context.quick && plan.slow === true);
    if (wanted) results[plan.name] = await runCase(plan, context, sides);
  }
  return results;
}
