import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { createStack, docker, removeImages, type Stack } from '../tests/compose/stack.ts';
import { sharedPath } from '../tests/support/shared.ts';
import { atLeast, atMost, median, printReport, rounded, tell } from './report.ts';

/**
 * `npm run bench:compose`: figures of the stack of docker-compose.scalable.yml, on whatever engine answers. Prints one
 * JSON object last.
 */

const STARTS = 3;
const TASKS = 900;
/** Measured from so long after every worker was ready, in ms, to where so much is done: the last tasks are few for two. */
const SETTLE_MS = 3000;
const MEASURED_TO = 0.9;

const picture = new Blob([readFileSync(sharedPath('data/samples/dog.jpg'))]);

async function submit(url: string, query = ''): Promise<{ state?: string }> {
  const form = new FormData();
  form.append('file', picture, 'dog.jpg');
  const response = await fetch(`${url}/api/detect/face/image${query}`, { method: 'POST', body: form });
  if (!response.ok) throw new Error(`refused with ${response.status}`);
  return ((await response.json()) as { data: { state?: string } }).data;
}

/** Repeats until it works: containers take a while to listen. */
async function insist<T>(what: () => Promise<T>, seconds = 120): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** Seconds from the command to the first result, on images that are there and with empty volumes. */
async function secondsToFirstResult(): Promise<number> {
  const stack = await createStack(2);
  try {
    const start = performance.now();
    const up = stack.compose('up', '-d');
    await insist(async () => {
      const { state } = await submit(stack.url, '?wait=60');
      if (state !== 'SUCCESS') throw new Error(`the task is ${state}`);
    });
    const seconds = (performance.now() - start) / 1000;
    await up;
    return seconds;
  } finally {
    await stack.down();
  }
}

type FaceHealth = { waiting: number; busy: number; workers: number; slots: number };

async function faceHealth(stack: Stack): Promise<FaceHealth> {
  const response = await fetch(`${stack.url}/api/health`);
  const { data } = (await response.json()) as { data: { services: { face_detection: FaceHealth } } };
  return data.services.face_detection;
}

/** Pictures a second that so many workers get through from a queue that was filled before they started. */
async function throughput(workers: number): Promise<number> {
  const stack = await createStack(2, { FACE_WORKER_CPUS: '0.5' });
  const scale = (count: number) =>
    stack.compose('up', '-d', '--scale', `face-worker=${count}`, '--scale', 'object-worker=0');
  try {
    await scale(0);
    await insist(() => submit(stack.url));
    for (let n = 1; n < TASKS; n++) await submit(stack.url);
    await scale(workers);
    while ((await faceHealth(stack)).slots < workers) await sleep(200);
    await sleep(SETTLE_MS);
    const left = async () => {
      const { waiting, busy } = await faceHealth(stack);
      return waiting + busy;
    };
    const [first, start] = [await left(), performance.now()];
    let last = first;
    while (last > TASKS * (1 - MEASURED_TO)) {
      await sleep(200);
      last = await left();
    }
    return ((first - last) * 1000) / (performance.now() - start);
  } finally {
    await stack.down();
  }
}

const megabytes = async (image: string) => Number(await docker('image', 'inspect', '-f', '{{.Size}}', image)) / 1e6;

const tag = `bench${process.pid}`;
process.env.RECOGNIZE_TEST_TAG = tag;
try {
  tell('building the images');
  const builder = await createStack(2);
  await builder.compose('build');
  const base = await megabytes('node:24-trixie-slim');
  const sizes = {
    web: (await megabytes(`recognize-web:${tag}`)) - base,
    worker: (await megabytes(`recognize-face-worker:${tag}`)) - base,
  };

  const starts: number[] = [];
  for (let n = 0; n < STARTS; n++) {
    starts.push(await secondsToFirstResult());
    tell(`first result after ${rounded(starts.at(-1) ?? 0)} s`);
  }
  const one = await throughput(1);
  tell(`one worker of half a core: ${rounded(one)} pictures/s`);
  const two = await throughput(2);
  tell(`two workers of half a core: ${rounded(two)} pictures/s`);
  printReport({
    image_megabytes_above_base: { web: atMost(sizes.web, 350, 0), worker: atMost(sizes.worker, 450, 0) },
    seconds_to_first_result: { runs: starts.map((seconds) => rounded(seconds)), median: atMost(median(starts), 30) },
    half_core_workers: {
      one_pictures_per_s: rounded(one),
      two_pictures_per_s: rounded(two),
      growth: atLeast(two / one, 1.8),
    },
  });
} finally {
  await removeImages(tag);
}
