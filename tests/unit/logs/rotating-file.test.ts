import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openRotatingFile } from '../../../src/logs/rotating-file.ts';
import { tempDir } from '../../support/temp.ts';
import { waitFor } from '../../support/wait-for.ts';

const DAY_MS = 86_400_000;

const problems: unknown[] = [];
const noted = (error: unknown) => void problems.push(error);

/** Everything in the files of a log, the oldest first. */
function contents(folder: string): string[] {
  return readdirSync(folder)
    .sort((a, b) => Number(b.split('.')[2] ?? 0) - Number(a.split('.')[2] ?? 0))
    .map((name) => readFileSync(join(folder, name), 'utf8'));
}

it('puts a file aside that has grown too large, and loses no line', async () => {
  const folder = tempDir('log');
  const file = openRotatingFile(
    join(folder, 'face_worker_1.log'),
    { rotateBytes: 100, keepFiles: 50, keepDays: 1 },
    noted,
  );
  const lines = Array.from({ length: 40 }, (_, index) => `line ${String(index).padStart(4, '0')}\n`);
  for (const line of lines) {
    file.write(line);
    // As long as a file is being put aside, lines may still go to it.
    await waitFor('the line', () => contents(folder).join('').includes(line), { intervalMs: 1 });
  }
  expect(contents(folder).join('')).toBe(lines.join(''));
  // 10 bytes a line: ten lines to a file.
  expect(readdirSync(folder).sort()).toEqual(
    ['face_worker_1.log', 'face_worker_1.log.1', 'face_worker_1.log.2', 'face_worker_1.log.3'].sort(),
  );
  expect(problems).toEqual([]);
});

it('loses nothing of a burst either', async () => {
  const folder = tempDir('log');
  const file = openRotatingFile(join(folder, 'a.log'), { rotateBytes: 4096, keepFiles: 50, keepDays: 1 }, noted);
  const lines = Array.from({ length: 2000 }, (_, index) => `${String(index).padStart(9, '0')}\n`);
  for (const line of lines) file.write(line);
  await waitFor('the last line', () => contents(folder).join('').length === 20_000);
  expect(contents(folder).join('').split('\n').filter(Boolean).sort()).toEqual(lines.map((line) => line.trim()));
});

it('keeps as many files as it should, and for as long', async () => {
  const folder = tempDir('log');
  const path = join(folder, 'a.log');
  for (const number of [1, 2, 3]) writeFileSync(`${path}.${number}`, `old ${number}\n`);
  writeFileSync(path, 'x'.repeat(99));
  const old = new Date(Date.now() - 5 * DAY_MS);
  utimesSync(`${path}.2`, old, old);
  const file = openRotatingFile(path, { rotateBytes: 50, keepFiles: 3, keepDays: 4 }, noted);
  file.write('new\n');
  await waitFor('the new file', () => readFileSync(path, 'utf8') === 'new\n');
  expect(readdirSync(folder).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('x'.repeat(99));
  expect(readFileSync(`${path}.2`, 'utf8')).toBe('old 1\n');
});

it("puts yesterday's file aside with the first line of today", async () => {
  const folder = tempDir('log');
  const path = join(folder, 'a.log');
  writeFileSync(path, 'yesterday\n');
  const then = new Date(Date.now() - DAY_MS);
  utimesSync(path, then, then);
  const file = openRotatingFile(path, { rotateBytes: 1e6, keepFiles: 3, keepDays: 4 }, noted);
  file.write('today\n');
  await waitFor('the new file', () => readFileSync(path, 'utf8') === 'today\n');
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('yesterday\n');
});

it('goes on where an earlier process of the day stopped, and lets nobody else read', async () => {
  const folder = tempDir('log');
  const path = join(folder, 'a.log');
  writeFileSync(path, 'before\n', { mode: 0o666 });
  const file = openRotatingFile(path, { rotateBytes: 1e6, keepFiles: 3, keepDays: 4 }, noted);
  file.write('after\n');
  await waitFor('the line', () => readFileSync(path, 'utf8') === 'before\nafter\n');
  expect(statSync(path).mode & 0o777).toBe(0o640);
  expect(() => openRotatingFile(join(path, 'a.log'), { rotateBytes: 1e6, keepFiles: 3, keepDays: 4 }, noted)).toThrow();
});
