import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { StartError } from '../../../src/errors.ts';
import { identifyProcess } from '../../../src/process-identity.ts';
import { lockDataFolder } from '../../../src/supervisor/data-lock.ts';
import { tempDir } from '../../support/temp.ts';

const lockFile = (folder: string) => join(folder, 'supervisor.lock');

it('makes the folder, refuses a second holder and is free again after its release', async () => {
  const folder = join(tempDir('lock'), 'new/data');
  const lock = await lockDataFolder(folder);
  await expect(lockDataFolder(folder)).rejects.toThrow(
    `Recognize already runs on this data folder (process ${process.pid}). Stop it, or set DATA_DIR to another folder.`,
  );
  await lock.release();
  expect(existsSync(lockFile(folder))).toBe(false);
  await (await lockDataFolder(folder)).release();
});

it('takes over the lock of a process that is gone', async () => {
  const folder = tempDir('lock');
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  writeFileSync(lockFile(folder), `${child.pid} 123\n`);
  await (await lockDataFolder(folder)).release();
  expect(existsSync(lockFile(folder))).toBe(false);
});

it('takes over the lock when its number belongs to another process by now', async () => {
  const folder = tempDir('lock');
  writeFileSync(lockFile(folder), `${process.ppid} 1\n`);
  const lock = await lockDataFolder(folder);
  expect(readFileSync(lockFile(folder), 'utf8')).toBe(`${process.pid} ${identifyProcess(process.pid)}\n`);
  await lock.release();
});

it('takes over a lock without readable content', async () => {
  for (const content of ['', 'garbage', '0 0\n', '-1 5\n']) {
    const folder = tempDir('lock');
    writeFileSync(lockFile(folder), content);
    await (await lockDataFolder(folder)).release();
    expect(existsSync(lockFile(folder))).toBe(false);
  }
});

it('lets exactly one of many starts through, also over a stale lock', async () => {
  const folder = tempDir('lock');
  writeFileSync(lockFile(folder), '999999999 1\n');
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockDataFolder(folder)));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

it('leaves a lock alone that somebody else has taken', async () => {
  const folder = tempDir('lock');
  const lock = await lockDataFolder(folder);
  writeFileSync(lockFile(folder), '1 1\n');
  await lock.release();
  expect(existsSync(lockFile(folder))).toBe(true);
});

it('names the setting when the folder cannot be made', async () => {
  const parent = tempDir('lock');
  writeFileSync(join(parent, 'file'), '');
  await expect(lockDataFolder(join(parent, 'file/data'))).rejects.toThrow(StartError);
  await expect(lockDataFolder(join(parent, 'file/data'))).rejects.toThrow(/ENOTDIR.*Set DATA_DIR to another one\.$/);
});
