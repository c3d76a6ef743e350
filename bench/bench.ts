import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { usableCores } from '../src/config.ts';
import { type Context, findModels } from './context.ts';
import { DEFAULT_DATA } from './eval/data-folder.ts';
import { watchMachine } from './machine.ts';
import { measureAcceptLatency } from './measure/accept-latency.ts';
import { measureDeepQueue } from './measure/deep-queue.ts';
import { measureLoneLatency } from './measure/lone-latency.ts';
import { measureMemory } from './measure/memory.ts';
import { measureThroughput } from './measure/throughput.ts';
import { measureVideos } from './measure/videos.ts';
import { makePictures } from './pictures.ts';
import { missedTargets, printReport, rounded, tell } from './report.ts';
import { stopServices } from './service.ts';

const USAGE = `Usage: npm run bench -- [options]
  --quick            short rounds, for a first look (about a minute)
  --only a,b,...     only these parts:
                       a  raw limit: detection in as many processes as cores, no HTTP, no queue
                       b  the same pictures through HTTP and Redis
                       c  the ratio b/a
                       d  POST to 202 while every detection process is busy
                       e  time from POST to SUCCESS of one lone picture
                       f  CPU time of web, worker and Redis for one task
                       g  memory after 2,000 tasks against after 200
                       h  100,000 waiting tasks against an empty queue
                       i  videos: decoding, skipping, drawing, memory
  --cases x,y,...    of a, b, c and f only these cases, e.g. face_1920x1080
  --data <folder>    folder with faces/images and coco/images (default: ../shared/data)
  --profile <folder> writes CPU profiles of web, workers and detection processes there`;

const PARTS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'] as const;
type Part = (typeof PARTS)[number];

class UsageError extends Error {}

function readOptions() {
  let values: { quick?: boolean; help?: boolean; only?: string; cases?: string; data?: string; profile?: string };
  try {
    ({ values } = parseArgs({
      options: {
        quick: { type: 'boolean' },
        only: { type: 'string' },
        cases: { type: 'string' },
        data: { type: 'string' },
        profile: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
  const asked = values.only?.split(',').map((part) => part.trim()) ?? PARTS;
  const unknown = asked.find((part) => !(PARTS as readonly string[]).includes(part));
  if (unknown !== undefined) throw new UsageError(`There is no part ${unknown}.\n${USAGE}`);
  return {
    help: values.help === true,
    quick: values.quick === true,
    parts: new Set(asked as Part[]),
    cases: values.cases?.split(',').map((name) => name.trim()),
    data: resolve(values.data ?? DEFAULT_DATA),
    profiles: values.profile === undefined ? undefined : resolve(values.profile),
  };
}

async function runParts(
  context: Context,
  parts: ReadonlySet<Part>,
  cases: readonly string[] | undefined,
  data: string,
) {
  const has = (...wanted: Part[]) => wanted.some((part) => parts.has(part));
  const sides = { raw: has('a', 'c'), service: has('b', 'c', 'f') };
  return {
    ...(sides.raw || sides.service ? { throughput: await measureThroughput(context, sides, cases) } : {}),
    ...(has('d') ? { accept_under_load: await measureAcceptLatency(context) } : {}),
    ...(has('e') ? { lone_picture: await measureLoneLatency(context) } : {}),
    ...(has('g') ? { memory: await measureMemory(context) } : {}),
    ...(has('h') ? { deep_queue: await measureDeepQueue(context) } : {}),
    ...(has('i') ? { videos: await measureVideos(context, data) } : {}),
  };
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) return void process.stdout.write(`${USAGE}\n`);
  if (!existsSync(join(options.data, 'faces', 'images'))) {
    throw new UsageError(
      'The pictures are not there: name a folder that has faces/images and coco/images with --data.',
    );
  }
  const startedAt = performance.now();
  const describeMachine = watchMachine();
  const folder = await mkdtemp(join(tmpdir(), 'recognize-pictures-'));
  const cleanUp = async () => {
    await stopServices();
    await rm(folder, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void cleanUp().finally(() => process.exit(1)));
  }
  try {
    const context: Context = {
      pictures: await makePictures(options.data, folder),
      slots: usableCores(),
      quick: options.quick,
      models: await findModels(),
      profiles: options.profiles,
    };
    const results = await runParts(context, options.parts, options.cases, options.data);
    await stopServices();
    const missed = missedTargets(results);
    tell(missed.length === 0 ? 'every target is met' : `targets missed: ${missed.join(', ')}`);
    printReport({
      bench: 'recognize',
      quick: options.quick,
      machine: describeMachine(),
      detection_processes: context.slots,
      ...results,
      targets_missed: missed,
      seconds: rounded((performance.now() - startedAt) / 1000, 0),
    });
  } finally {
    await cleanUp();
  }
}

try {
  await main();
} catch (error) {
  tell(error instanceof UsageError ? error.message : `The bench failed: ${(error as Error).stack}`);
  process.exitCode = 1;
}
