import { execFile, spawn } from 'node:child_process';
import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

const SCRIPT = resolve(import.meta.dirname, '../../scripts/logs.ts');

let folder: string;
const children = new Set<ReturnType<typeof spawn>>();

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second)).toISOString();

function line(second: number, msg: string, more: object = {}): string {
  return `${JSON.stringify({ level: 'info', time: at(second), name: 'worker:face', pid: 7, msg, ...more })}\n`;
}

async function logs(...args: string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, '--folder', folder, ...args]);
  return stdout.split('\n').filter(Boolean);
}

beforeEach(() => {
  folder = tempDir('logs');
  writeFileSync(join(folder, 'face_worker_1.log.2'), line(1, 'one', { taskId: 'a' }) + line(4, 'four'));
  writeFileSync(join(folder, 'face_worker_1.log.1'), line(6, 'six', { taskId: 'b' }));
  writeFileSync(join(folder, 'face_worker_1.log'), line(8, 'eight', { taskId: 'a', level: 'warn' }));
  writeFileSync(
    join(folder, 'object_worker_10.log'),
    line(2, 'two', { taskId: 'a', level: 'error', err: { message: 'no', stack: 'Error: no\n    at somewhere' } }) +
      'not a line of ours\n' +
      line(7, 'seven', { requestId: 'a', file: 'x\u001b[31m.jpg' }),
  );
  writeFileSync(join(folder, 'other.log'), line(3, 'three'));
});

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

it('prints all workers in the order of time, put-aside files included', async () => {
  const printed = await logs();
  const order = ['one', 'two', 'at somewhere', 'not a line of ours', 'four', 'six', 'seven', 'eight'];
  const found = order.map((word) => printed.findIndex((text) => text.includes(word)));
  expect(found).toEqual([...found].sort((a, b) => a - b));
  expect(found).not.toContain(-1);
  expect(printed.join('\n')).not.toContain('three');
  expect(printed[0]).toBe('2026-01-01 12:00:01.000  INFO   face_worker_1  one  taskId=a');
  expect(printed.join('\n')).not.toContain('\u001b');
});

it('follows one task through all files, also by the id of its request', async () => {
  const words = (await logs('--task', 'a')).map((text) => /(one|two|four|six|seven|eight)/.exec(text)?.[1]);
  expect(words.filter(Boolean)).toEqual(['one', 'two', 'seven', 'eight']);
});

it('leaves out what is less than a level, of other workers, or too long ago', async () => {
  expect((await logs('--level', 'warn')).filter((text) => /^2026/.test(text))).toEqual([
    expect.stringContaining('ERROR'),
    expect.stringContaining('WARN'),
  ]);
  expect(await logs('--worker', 'object_worker_10', '--json')).toHaveLength(3);
  expect(await logs('--lines', '2', '--json')).toEqual([
    expect.stringContaining('"seven"'),
    expect.stringContaining('"eight"'),
  ]);
  expect(await logs('--since', '1h')).toEqual([]);
});

it('goes on as lines are written, over a file that is put aside and into new ones', async () => {
  const child = spawn(process.execPath, [SCRIPT, '--folder', folder, '--follow', '--lines', '1', '--task', 'n']);
  children.add(child);
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const now = (msg: string) =>
    `${JSON.stringify({ level: 'info', time: new Date().toISOString(), msg, taskId: 'n' })}\n`;
  const path = join(folder, 'face_worker_1.log');
  await waitFor('the first line', () => {
    appendFileSync(path, now('here'));
    return printed.includes('here');
  });
  appendFileSync(path, now('last of the old file'));
  renameSync(path, join(folder, 'face_worker_1.log.3'));
  writeFileSync(path, now('first of the new file'));
  writeFileSync(join(folder, 'object_worker_2.log'), now('a new worker'));
  for (const word of ['last of the old', 'first of the new', 'a new worker'])
    await waitFor(word, () => printed.includes(word));
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGINT');
  expect(await ended).toBe(0);
  for (const word of ['last of the old', 'first of the new', 'a new worker'])
    expect(printed.split(word)).toHaveLength(2);
});

it('says in a sentence what is wrong', async () => {
  const failure = (...args: string[]) => logs(...args).catch((error: { stderr: string }) => error.stderr);
  expect(await failure('--level', 'loud')).toMatch(/^--level takes one of trace/);
  expect(await failure('--since', 'yesterday')).toMatch(/^--since takes an age/);
  expect(await failure('--worker', 'face_worker_9')).toBe('There is no log of face_worker_9.\n');
  expect(await failure('--loud')).toMatch(/--loud/);
});
