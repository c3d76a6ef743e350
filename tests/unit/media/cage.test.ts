import { getPriority } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { CagedProgramError, runCaged, spawnCaged } from '../../../src/media/cage.ts';
import { untilGone } from '../../support/processes.ts';

const limits = { timeoutMs: 10_000 };
const output = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** Starts a shell that tells its process id and then waits far longer than any test. */
async function startSleeper(options: Parameters<typeof spawnCaged>[2]) {
  const caged = spawnCaged('sh', ['-c', 'echo $$; exec sleep 600'], options);
  const pid = await new Promise<number>((resolve) => {
    caged.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
  });
  return { caged, pid };
}

test('gives back what the program wrote', async () => {
  expect(output(await runCaged('printf', ['abc'], { ...limits, outputBytes: 10 }))).toBe('abc');
  expect(output(await runCaged('cat', [], { ...limits, outputBytes: 10 }))).toBe('');
});

test('arguments reach the program as they are', async () => {
  const awkward = 'a b"$(id)`id`;*';
  expect(output(await runCaged('printf', ['%s', awkward], { ...limits, outputBytes: 100 }))).toBe(awkward);
});

test('a program that fails is reported with its last words', async () => {
  const run = runCaged('sh', ['-c', 'echo broken >&2; exit 3'], { ...limits, outputBytes: 10 });
  await expect(run).rejects.toBeInstanceOf(CagedProgramError);
  await expect(run).rejects.toThrow('sh ended with code 3: broken');
});

test('a flood of complaints does not fill memory', async () => {
  const run = runCaged('sh', ['-c', 'yes complaint | head -c 3000000 >&2; exit 1'], { ...limits, outputBytes: 10 });
  const error = await run.catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(CagedProgramError);
  expect((error as Error).message.length).toBeLessThan(2100);
});

test('one that writes too much is killed', async () => {
  await expect(runCaged('yes', [], { ...limits, outputBytes: 1000 })).rejects.toThrow('more than 1000 bytes');
});

test('one that is not there, and one that is killed from outside, are faults that may pass', async () => {
  const missing = runCaged('no-such-program', [], { ...limits, outputBytes: 1 });
  await expect(missing).rejects.toMatchObject({ name: 'TransientError' });
  const killed = runCaged('sh', ['-c', 'kill -9 $$'], { ...limits, outputBytes: 1 });
  await expect(killed).rejects.toMatchObject({ name: 'TransientError' });
});

test('an abort kills it and is the reason', async () => {
  const controller = new AbortController();
  const { caged, pid } = await startSleeper({ ...limits, signal: controller.signal });
  const reason = new Error('cancelled');
  controller.abort(reason);
  await expect(caged.ended).rejects.toBe(reason);
  await untilGone(pid);
});

test('an abort beforehand starts nothing', () => {
  const reason = new Error('cancelled');
  expect(() => spawnCaged('sleep', ['600'], { ...limits, signal: AbortSignal.abort(reason) })).toThrow(reason);
});

test('the time limit kills it', async () => {
  const { caged, pid } = await startSleeper({ timeoutMs: 300 });
  await expect(caged.ended).rejects.toMatchObject({ code: 'TIMEOUT' });
  await untilGone(pid);
});

test('it runs below normal priority', async () => {
  const { caged, pid } = await startSleeper(limits);
  expect(getPriority(pid)).toBe(10);
  caged.kill(new Error('enough'));
  await expect(caged.ended).rejects.toThrow('enough');
  await untilGone(pid);
});

test('it dies with the process that started it', async () => {
  const script = `
    import { spawnCaged } from ${JSON.stringify(new URL('../../../src/media/cage.ts', import.meta.url).href)};
    const caged = spawnCaged('sh', ['-c', 'echo $$; exec sleep 600'], { timeoutMs: 60000 });
    caged.stdout.once('data', (chunk) => { process.stdout.write(chunk, () => process.exit(0)); });
  `;
  const parent = spawnCaged(process.execPath, ['--input-type=module', '-e', script], limits);
  const pid = Number(await text(parent.stdout));
  expect(pid).toBeGreaterThan(1);
  await parent.ended;
  await untilGone(pid);
});

test('a finished run leaves no timer behind', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  await runCaged('true', [], { ...limits, outputBytes: 1 });
  await sleep(1);
  expect(timers()).toBeLessThanOrEqual(before);
});
