import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { TransientError } from '../../../src/errors.ts';
import { newBase, originalName } from '../../../src/storage/names.ts';
import { openLocalStorage } from '../../../src/storage/storage.ts';
import { tempDir } from '../../support/temp.ts';

async function open() {
  const root = tempDir('st');
  const folder = join(root, 'deep', 'uploads');
  const temporary = join(folder, '.tmp');
  return { folder, temporary, storage: await openLocalStorage(folder, temporary) };
}

function makeOld(path: string, seconds: number): void {
  const then = Date.now() / 1000 - seconds;
  utimesSync(path, then, then);
}

const newName = () => originalName(newBase(), 'jpg');

describe('a stored file', () => {
  it('appears whole under its name, its temporary one gone', async () => {
    const { storage, folder, temporary } = await open();
    const name = newName();
    const path = storage.temporaryPath();
    await writeFile(path, 'content');
    expect(await storage.has(name)).toBe(false);
    await storage.commit(path, name);
    expect(await storage.has(name)).toBe(true);
    expect((await storage.fetch(name))?.path).toBe(join(folder, name));
    expect(await readFile(join(folder, name), 'utf8')).toBe('content');
    expect(readdirSync(temporary)).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(['.tmp', name]);
  });

  it('can be removed, also twice', async () => {
    const { storage, folder } = await open();
    const name = newName();
    await writeFile(join(folder, name), 'x');
    await storage.remove(name);
    await storage.remove(name);
    expect(await storage.has(name)).toBe(false);
  });

  it('never gets a name that leads elsewhere', async () => {
    const { storage } = await open();
    for (const name of ['../x.jpg', '/etc/passwd', 'x', `${newBase()}.jpg/../../x`]) {
      await expect(storage.fetch(name)).rejects.toThrow('not the name of a stored file');
      await expect(storage.open(name)).rejects.toThrow('not the name of a stored file');
      await expect(storage.commit(storage.temporaryPath(), name)).rejects.toThrow();
      await expect(async () => storage.remove(name)).rejects.toThrow();
    }
  });

  it('that cannot be stored is a fault that may pass', async () => {
    const { storage } = await open();
    await expect(storage.commit(storage.temporaryPath(), newName())).rejects.toThrow(TransientError);
  });

  it.skipIf(!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(tempDir('dev')).dev)(
    'comes from another volume, too',
    async () => {
      const elsewhere = mkdtempSync('/dev/shm/recognize-test-');
      onTestFinished(() => rmSync(elsewhere, { recursive: true }));
      const folder = tempDir('st');
      const storage = await openLocalStorage(folder, elsewhere);
      const [path, name] = [storage.temporaryPath(), newName()];
      await writeFile(path, 'from afar');
      await storage.commit(path, name);
      expect(await readFile(join(folder, name), 'utf8')).toBe('from afar');
      expect(readdirSync(elsewhere)).toEqual([]);
      expect(readdirSync(folder)).toEqual([name]);
    },
  );
});

describe('looking through', () => {
  it('tells name and age of every stored file and of nothing else', async () => {
    const { storage, folder } = await open();
    const [young, old] = [newName(), newName()];
    for (const name of [young, old, 'README.txt', '.gitkeep']) await writeFile(join(folder, name), 'x');
    await writeFile(storage.temporaryPath(), 'x');
    makeOld(join(folder, old), 100);
    const found = new Map<string, number>();
    for await (const { name, ageSeconds } of storage.stored()) found.set(name, ageSeconds);
    expect([...found.keys()].sort()).toEqual([young, old].sort());
    expect(found.get(young)).toBeLessThan(5);
    expect(found.get(old)).toBeGreaterThanOrEqual(100);
    expect(found.get(old)).toBeLessThan(105);
  });

  it('finds nothing where the folder is gone', async () => {
    const { storage, folder } = await open();
    await rm(folder, { recursive: true });
    for await (const info of storage.stored()) throw new Error(info.name);
    expect(await storage.sweepTemporary(0)).toBe(0);
  });

  it('sweeps temporary files that nobody has written to for long, wherever they lie', async () => {
    const { storage, folder, temporary } = await open();
    const [young, old, foreign] = [storage.temporaryPath(), storage.temporaryPath(), join(temporary, 'notes.txt')];
    const beside = join(folder, `${newName()}.part`);
    for (const path of [young, old, foreign, beside]) await writeFile(path, 'x');
    for (const path of [old, foreign, beside]) makeOld(path, 4000);
    expect(await storage.sweepTemporary(3600)).toBe(2);
    expect(readdirSync(temporary).sort()).toEqual([young.slice(temporary.length + 1), 'notes.txt'].sort());
    expect(readdirSync(folder)).toEqual(['.tmp']);
  });
});

describe('whether it can be written', () => {
  it('is tried for real and leaves nothing', async () => {
    const { storage, temporary } = await open();
    await storage.checkWritable();
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('is no where its folder is gone', async () => {
    const { storage, temporary } = await open();
    await rm(temporary, { recursive: true });
    await expect(storage.checkWritable()).rejects.toThrow();
  });
});
