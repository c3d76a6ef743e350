import { mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { keepFreeOfOldLogs, removeOldLogs } from '../../../src/logs/old-logs.ts';
import { openRotatingFile } from '../../../src/logs/rotating-file.ts';
import { tempDir } from '../../support/temp.ts';
import { waitFor } from '../../support/wait-for.ts';

const DAY_MS = 86_400_000;

function aged(path: string, days: number): string {
  writeFileSync(path, 'x\n');
  const then = new Date(Date.now() - days * DAY_MS);
  utimesSync(path, then, then);
  return path;
}

it("removes workers' logs that are too old, and nothing else", () => {
  const folder = tempDir('log');
  const kept = ['face_worker_1.log', 'face_worker_1.log.2'];
  for (const name of kept) aged(join(folder, name), 13.9);
  const gone = ['face_worker_1.log.3', 'object_worker_12.log', 'object_worker_12.log.1'];
  for (const name of gone) aged(join(folder, name), 14.1);
  const others = [
    'notes.log',
    'face_worker_1.log.gz',
    'face_worker_x.log',
    'a_face_worker_1.log.1.txt',
    'web.log',
    'worker',
  ];
  for (const name of others) aged(join(folder, name), 400);
  mkdirSync(join(folder, 'face_worker_7.log'));
  utimesSync(join(folder, 'face_worker_7.log'), 0, 0);
  symlinkSync(aged(join(tempDir('other'), 'precious'), 400), join(folder, 'face_worker_8.log'));
  removeOldLogs(folder, 14);
  expect(readdirSync(folder).sort()).toEqual([...kept, ...others, 'face_worker_7.log', 'face_worker_8.log'].sort());
  expect(readFileSync(join(folder, 'face_worker_8.log'), 'utf8')).toBe('x\n');
});

it('looks at once and daily, and leaves the log of a worker that has nothing to say', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'Date'] });
  try {
    const folder = tempDir('log');
    const problems: unknown[] = [];
    const path = join(folder, 'face_worker_2.log');
    aged(join(folder, 'face_worker_1.log'), 5);
    const file = openRotatingFile(path, { rotateBytes: 1e6, keepFiles: 9, keepDays: 3 }, (error) =>
      problems.push(error),
    );
    keepFreeOfOldLogs(path, 3, (error) => problems.push(error));
    expect(readdirSync(folder)).toEqual(['face_worker_2.log']);
    aged(join(folder, 'face_worker_3.log'), 1);
    vi.advanceTimersByTime(DAY_MS);
    expect(readdirSync(folder)).toEqual(['face_worker_2.log', 'face_worker_3.log']);
    vi.advanceTimersByTime(9 * DAY_MS);
    expect(readdirSync(folder)).toEqual(['face_worker_2.log']);
    vi.useRealTimers();
    file.write('here\n');
    await waitFor('the line', () => readFileSync(path, 'utf8') === 'here\n');
    expect(problems).toEqual([]);
  } finally {
    vi.useRealTimers();
  }
});
