import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { StartError, StorageError } from '../../src/errors.ts';
import {
  createKeyring,
  DAMAGED_SENTENCE,
  type Keyring,
  MISSING_KEY_SENTENCE,
  NO_KEYS,
} from '../../src/sealing/keyring.ts';
import { annotatedName, detectionsName, newBase, originalName } from '../../src/storage/names.ts';
import { storageSettings } from '../../src/storage/settings.ts';
import { openStorage, type Storage } from '../../src/storage/storage.ts';
import { startBucket, type TestBucket } from '../support/s3.ts';
import { tempDir } from '../support/temp.ts';

const log = pino({ level: 'silent' });
const key = (id: string) => ({ id, secret: new Uint8Array(randomBytes(32)) });
const newName = () => originalName(newBase(), 'jpg');

let bucket: TestBucket;
beforeAll(async () => {
  bucket = await startBucket();
});
afterAll(() => bucket?.stop());

type Opened = { storage: Storage; root: string; tmp: string; again(keyring: Keyring): Promise<Storage> };

async function open(env: Record<string, string>, keyring: Keyring): Promise<Opened> {
  const root = tempDir('st');
  const tmp = join(root, 'tmp');
  const settings = storageSettings(loadConfig({ DATA_DIR: root, TMP_DIR: tmp, ...env }));
  const again = (ring: Keyring) => openStorage(settings, ring, log);
  return { root, tmp, storage: await again(keyring), again };
}

async function put({ storage }: Opened, content: Buffer, name = newName()): Promise<string> {
  const path = storage.temporaryPath();
  writeFileSync(path, content);
  await storage.commit(path, name);
  expect(existsSync(path)).toBe(false);
  return name;
}

async function read(storage: Storage, name: string, from = 0, to?: number): Promise<Buffer> {
  const content = await storage.open(name);
  if (content === undefined) throw new Error('there is no such file');
  return buffer(content.read(from, to ?? content.bytes));
}

describe.each([
  ['a folder', false, false],
  ['a folder with a key', false, true],
  ['a bucket', true, false],
  ['a bucket with a key', true, true],
])('storage in %s', (_what, inBucket, withKey) => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open(inBucket ? bucket.env : {}, withKey ? createKeyring([key('k1')]) : NO_KEYS);
  });

  it.each([0, 1, 65_536, 70_000, 6_000_000])('gives back %i bytes, whole and in part', async (bytes) => {
    const plain = randomBytes(bytes);
    const name = await put(opened, plain);
    const { storage } = opened;
    expect(await storage.has(name)).toBe(true);
    const content = await storage.open(name);
    expect(content?.bytes).toBe(bytes);
    expect(Math.abs(Date.now() - Number(content?.modifiedAt))).toBeLessThan(60_000);
    expect((await read(storage, name)).equals(plain)).toBe(true);
    const [from, to] = [Math.floor(bytes / 3), Math.ceil(bytes / 2)];
    expect((await read(storage, name, from, to)).equals(plain.subarray(from, to))).toBe(true);
    expect(readdirSync(opened.tmp)).toEqual([]);
  });

  it('lends a local file and takes it back', async () => {
    const plain = randomBytes(100_000);
    const name = await put(opened, plain);
    const local = await opened.storage.fetch(name, 'task-1');
    expect(readFileSync(local?.path ?? '').equals(plain)).toBe(true);
    const isCopy = inBucket || withKey;
    expect(opened.storage.copies).toBe(isCopy);
    expect(readdirSync(opened.tmp).length).toBe(isCopy ? 1 : 0);
    if (isCopy) expect(statSync(local?.path ?? '').mode & 0o077).toBe(0);
    await local?.release();
    expect(readdirSync(opened.tmp)).toEqual([]);
    expect((await read(opened.storage, name)).length).toBe(100_000);
  });

  it('leaves no copy behind when it is told to stop', async () => {
    const name = await put(opened, randomBytes(1_000_000));
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    if (opened.storage.copies)
      await expect(opened.storage.fetch(name, 'task-2', stop.signal)).rejects.toThrow('enough');
    expect(readdirSync(opened.tmp)).toEqual([]);
  });

  it('has nothing under a name that was never given', async () => {
    const name = newName();
    const { storage } = opened;
    expect([await storage.has(name), await storage.open(name), await storage.fetch(name)]).toEqual([
      false,
      undefined,
      undefined,
    ]);
    await storage.remove(name);
  });

  it('removes a file and all that was made of it, and nothing else', async () => {
    const base = newBase();
    const family = [
      originalName(base, 'mp4'),
      annotatedName(base, 'mp4'),
      detectionsName(base, 'json'),
      detectionsName(base, 'ndjson'),
    ];
    for (const name of family) await put(opened, randomBytes(10), name);
    const other = await put(opened, randomBytes(10));
    const { storage } = opened;
    const names = new Map<string, number>();
    for await (const { name, ageSeconds } of storage.stored()) names.set(name, ageSeconds);
    expect([...names.keys()]).toEqual(expect.arrayContaining([...family, other]));
    expect(names.get(other)).toBeLessThan(60);
    await storage.removeAll(family[0] ?? '');
    for (const name of family) expect(await storage.has(name), name).toBe(false);
    expect(await storage.has(other)).toBe(true);
    await storage.remove(other);
    expect(await storage.has(other)).toBe(false);
  });

  it('can be written, and says so', async () => {
    await opened.storage.checkWritable();
    expect(readdirSync(opened.tmp)).toEqual([]);
  });

  it('sweeps what was left behind in the temporary folder', async () => {
    const path = opened.storage.temporaryPath('task-3');
    writeFileSync(path, 'x');
    utimesSync(path, 1, 1);
    expect(await opened.storage.sweepTemporary(3600)).toBe(1);
    expect(readdirSync(opened.tmp)).toEqual([]);
  });

  it('reads what was written before there was a key, and refuses what a missing or another key wrote', async () => {
    const plain = Buffer.from('plain text that anybody would know again');
    const [old, current] = [key('old'), key('new')];
    const name = { before: newName(), old: newName(), current: newName() };
    await put({ ...opened, storage: await opened.again(NO_KEYS) }, plain, name.before);
    await put({ ...opened, storage: await opened.again(createKeyring([old])) }, plain, name.old);
    const rotated = await opened.again(createKeyring([current, old]));
    await put({ ...opened, storage: rotated }, plain, name.current);
    for (const each of Object.values(name)) {
      expect((await read(rotated, each)).equals(plain)).toBe(true);
      const local = await rotated.fetch(each);
      expect(readFileSync(local?.path ?? '').equals(plain)).toBe(true);
      await local?.release();
    }
    for (const ring of [NO_KEYS, createKeyring([current])]) {
      const storage = await opened.again(ring);
      expect((await read(storage, name.before)).equals(plain)).toBe(true);
      await expect(storage.open(name.old)).rejects.toThrow(MISSING_KEY_SENTENCE);
      await expect(storage.fetch(name.old)).rejects.toThrow(MISSING_KEY_SENTENCE);
    }
    const impostor = await opened.again(createKeyring([{ ...current, id: 'old' }]));
    await expect(read(impostor, name.old)).rejects.toThrow(DAMAGED_SENTENCE);
    await expect(impostor.fetch(name.old)).rejects.toThrow(DAMAGED_SENTENCE);
    expect(readdirSync(opened.tmp)).toEqual([]);
  });
});

it('what a folder with a key holds says nothing of its content', async () => {
  const opened = await open({}, createKeyring([key('k1')]));
  const text = 'a person with a bicycle ';
  const name = await put(opened, Buffer.from(text.repeat(10_000)));
  const folder = join(opened.root, 'uploads');
  expect(readdirSync(folder)).toEqual([`${name}.sealed`]);
  expect(readFileSync(join(folder, `${name}.sealed`)).includes('person')).toBe(false);
  expect(statSync(join(folder, `${name}.sealed`)).mode & 0o077).toBe(0);
});

describe('a bucket', () => {
  it('that is not there stops a start with a sentence', async () => {
    await expect(open({ ...bucket.env, STORAGE_URL: 's3://nobody-made-it' }, NO_KEYS)).rejects.toThrow(StartError);
    await expect(open({ ...bucket.env, STORAGE_URL: 's3://nobody-made-it' }, NO_KEYS)).rejects.toThrow(
      /nobody-made-it, which does not exist/,
    );
  });

  it('whose server is away is a fault that may pass, soon told, and none once it is back', async () => {
    const opened = await open(bucket.env, NO_KEYS);
    const name = await put(opened, Buffer.from('x'));
    await bucket.kill9();
    const start = performance.now();
    try {
      const path = opened.storage.temporaryPath();
      writeFileSync(path, 'y');
      const asked = [
        opened.storage.commit(path, newName()),
        opened.storage.open(name),
        opened.storage.fetch(name),
        opened.storage.has(name),
        opened.storage.remove(name),
        opened.storage.checkWritable(),
      ];
      for (const outcome of await Promise.allSettled(asked)) {
        expect(outcome.status === 'rejected' ? outcome.reason : undefined).toBeInstanceOf(StorageError);
      }
      expect(performance.now() - start).toBeLessThan(15_000);
      // The file can be stored later: it is still there.
      expect(readFileSync(path, 'utf8')).toBe('y');
      // A start does not wait for it for ever either.
      await open(bucket.env, NO_KEYS);
    } finally {
      await bucket.restart();
    }
    expect((await read(opened.storage, name)).toString()).toBe('x');
  });

  it('whose server hangs is given up after a while', async () => {
    const opened = await open(bucket.env, NO_KEYS);
    bucket.freeze();
    try {
      const start = performance.now();
      await expect(opened.storage.has(newName())).rejects.toThrow(StorageError);
      expect(performance.now() - start).toBeLessThan(20_000);
      const stop = new AbortController();
      setTimeout(() => stop.abort(new Error('enough')), 200);
      const path = opened.storage.temporaryPath();
      writeFileSync(path, randomBytes(6_000_000));
      const since = performance.now();
      await expect(opened.storage.commit(path, newName(), stop.signal)).rejects.toThrow('enough');
      expect(performance.now() - since).toBeLessThan(5000);
    } finally {
      bucket.thaw();
    }
  });

  it('shows nothing of an upload that broke off', async () => {
    const opened = await open(bucket.env, NO_KEYS);
    const path = opened.storage.temporaryPath();
    writeFileSync(path, randomBytes(40_000_000));
    const before = bucket.names();
    const name = newName();
    const commit = opened.storage.commit(path, name);
    commit.catch(() => undefined);
    await bucket.kill9();
    try {
      await expect(commit).rejects.toThrow(StorageError);
    } finally {
      await bucket.restart();
    }
    expect(await opened.storage.has(name)).toBe(false);
    expect(bucket.names()).toEqual(before);
  });
});
