/** The load generator, a process of its own: posts pictures as fast as they are answered and takes the times. */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, openConnection } from './connection.ts';
import type { Load, LoadOutcome } from './messages.ts';
import { preparePost } from './requests.ts';

const NOTED_FAILURES = 10;

function isSuccess({ status, body }: Answer, wait: boolean): boolean {
  return wait ? status === 200 && body.includes('"state":"SUCCESS"') : status === 202;
}

/** How long the detection of a finished task ran, in ms. */
function runMs(body: string): number {
  const { decode, inference, postprocess } = JSON.parse(body).data.result.timings_ms;
  return decode + inference + postprocess;
}

/**
 * How much of a request's work was done within the measured time, 0 to 1. Counting whole tasks would be wrong by one or
 * two, which is much where a round has thirty of them.
 */
function share(load: Load, answer: Answer, sentAt: number, answeredAt: number, from: number, to: number): number {
  if (sentAt >= from && answeredAt <= to) return 1;
  if (!load.wait) return answeredAt >= from && answeredAt <= to ? 1 : 0;
  const ran = runMs(answer.body);
  const within = Math.min(answeredAt, to) - Math.max(answeredAt - ran, from);
  return Math.min(1, Math.max(0, within / ran));
}

async function generate(load: Load): Promise<LoadOutcome> {
  const requests = await Promise.all(load.pictures.map((path) => preparePost(load.kind, path, load)));
  const outcome: LoadOutcome = { completed: 0, seconds: 0, total: 0, latenciesMs: [], failures: [], cpuMs: 0 };
  const limit = 'requests' in load.until ? load.until.requests : Number.POSITIVE_INFINITY;
  const lasts = 'seconds' in load.until ? load.until.seconds * 1000 : Number.POSITIVE_INFINITY;
  const cpuBefore = process.cpuUsage();
  const from = performance.now() + load.warmSeconds * 1000;
  const to = from + lasts;
  let next = 0;
  let counted = 0;

  async function keepPosting(): Promise<void> {
    const connection = await openConnection(load.url);
    while (performance.now() < to && counted < limit && outcome.failures.length < NOTED_FAILURES) {
      const sentAt = performance.now();
      if (sentAt >= from) counted++;
      const answer = await connection.send(requests[next++ % requests.length] as Buffer);
      const answeredAt = performance.now();
      outcome.total++;
      if (!isSuccess(answer, load.wait)) {
        outcome.failures.push(`${answer.status} ${answer.body.slice(0, 300)}`);
        continue;
      }
      if (sentAt >= from) outcome.latenciesMs.push(answeredAt - sentAt);
      outcome.completed += share(load, answer, sentAt, answeredAt, from, to);
      if (load.pauseMs > 0) await sleep(load.pauseMs);
    }
    connection.close();
  }

  await Promise.all(Array.from({ length: load.inFlight }, keepPosting));
  outcome.seconds = (Math.min(performance.now(), to) - from) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  outcome.cpuMs = (user + system) / 1000;
  return outcome;
}

process.on('message', (load: Load) => {
  generate(load).then(
    (outcome) => process.send?.({ outcome }),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
