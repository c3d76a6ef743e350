import { existsSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { annotatedName, newBase, originalName } from '../../src/storage/names.ts';
import { call, ended, expectError, getTask, post, submit } from '../support/api.ts';
import { lanePids, signalAll } from '../support/lanes.ts';
import { goodPicture } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startAnotherWeb, startWeb, storedIn, type TestWeb } from '../support/web.ts';

const RESULT_TTL = 3;
const UPLOAD_TTL = 4;

describe.skipIf(!requireShared())('lifetimes', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({
      workers: ['face'],
      env: { RESULT_TTL: String(RESULT_TTL), UPLOAD_TTL: String(UPLOAD_TTL), API_KEYS: 'a:key' },
    });
  });
  afterAll(() => web?.stop());

  const headers = { 'X-API-Key': 'key' };
  const pathOf = (name: string) => join(web.folders.uploads, name);
  const stored = () => storedIn(web.folders);
  const fileOf = (path: string | null | undefined) => pathOf(path?.split('/').at(-1) ?? '');

  function place(name: string, ageSeconds: number): string {
    const path = join(web.folders.uploads, name);
    writeFileSync(path, 'x');
    const then = Date.now() / 1000 - ageSeconds;
    utimesSync(path, then, then);
    return path;
  }

  it('a result, its events, its place in the list and its files end with their time', async () => {
    const id = await submit(web.url, 'face/image', { file, query: 'annotate=true', headers });
    const { result } = await ended(web.url, id, headers);
    const files = [fileOf(result?.original_image), fileOf(result?.annotated_image)];
    expect(files.map(existsSync)).toEqual([true, true]);

    await sleep(RESULT_TTL * 1000 + 100);
    expectError(await call(`${web.url}/api/task/${id}`, { headers }), 404, 'TASK_NOT_FOUND');
    expectError(await call(`${web.url}/api/task/${id}/events`, { headers }), 404, 'TASK_NOT_FOUND');
    expectError(await call(`${web.url}/api/task/${id}`, { headers, method: 'DELETE' }), 404, 'TASK_NOT_FOUND');
    const list = await call(`${web.url}/api/tasks`, { headers });
    expect(list.body.data).toEqual({ tasks: [], next_cursor: null });

    await waitFor('its files to go', () => files.every((path) => !existsSync(path)), { timeoutMs: 10_000 });
    expectError(await call(`${web.url}${result?.original_image}`), 404, 'NOT_FOUND');
    expectError(await call(`${web.url}${result?.annotated_image}`), 404, 'NOT_FOUND');
    const redis = web.redis.client();
    await waitFor('Redis to forget', async () => {
      const left = await redis.keys(`*${id}*`);
      const indexed = await Promise.all([redis.zcard(KEYS.index('a')), redis.zcard(KEYS.index(null))]);
      return left.length === 0 && indexed.every((count) => count === 0);
    });
  });

  it('a copy that was drawn late goes with its original', async () => {
    const base = newBase();
    const [original, copy] = [place(originalName(base, 'bmp'), 60), place(annotatedName(base, 'jpg'), 0)];
    await waitFor('both to go', () => !existsSync(original) && !existsSync(copy), { timeoutMs: 3000 });
  });

  it('Redis forgets any number of tasks behind any number that are still there', async () => {
    const redis = web.redis.client();
    const key = KEYS.index(null);
    const idOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
    const fill = redis.pipeline();
    for (let n = 0; n < 3500; n++) {
      fill.zadd(key, n + 1, `face_detection:${idOf(n)}`);
      if (n < 1200) fill.set(KEYS.revoked(idOf(n)), '{}', 'EX', 60);
    }
    await fill.exec();
    const old = () => redis.zcount(key, 0, 10_000);
    await waitFor('all that are gone to be forgotten', async () => (await old()) === 1200, { timeoutMs: 5000 });
    await redis.zremrangebyscore(key, 0, 10_000);
    expect(await old()).toBe(0);
  });

  it('a cancelled task ends with its time, too', async () => {
    const id = await submit(web.url, 'object/image', { file, headers });
    expect((await call(`${web.url}/api/task/${id}`, { method: 'DELETE', headers })).status).toBe(200);
    expect((await getTask(web.url, id, headers)).state).toBe('REVOKED');
    await sleep(RESULT_TTL * 1000 + 100);
    expectError(await call(`${web.url}/api/task/${id}`, { headers }), 404, 'TASK_NOT_FOUND');
  });

  it('an Idempotency-Key is free again when its time is over', async () => {
    const upload = { file, headers: { ...headers, 'Idempotency-Key': 'short' } };
    const first = await submit(web.url, 'face/image', upload);
    expect(await submit(web.url, 'face/image', upload)).toBe(first);
    await sleep(RESULT_TTL * 1000 + 100);
    const again = await submit(web.url, 'face/image', upload);
    expect(again).not.toBe(first);
    expect((await ended(web.url, again, headers)).state).toBe('SUCCESS');
  });

  it('files of tasks that wait or run stay, however old', async () => {
    const before = new Set(stored());
    const waiting = await submit(web.url, 'object/image', { file, headers });
    const [waitingFile = ''] = stored().filter((name) => !before.has(name));
    const lanes = lanePids();
    signalAll(lanes, 'SIGSTOP');
    try {
      const running = await submit(web.url, 'face/image', { file, headers });
      const [runningFile = ''] = stored().filter((name) => !before.has(name) && name !== waitingFile);
      const orphan = place(originalName(newBase(), 'jpg'), 3600);
      for (const name of [waitingFile, runningFile]) utimesSync(pathOf(name), 1, 1);
      await waitFor('a sweep', () => !existsSync(orphan), { timeoutMs: 5000 });
      expect([waitingFile, runningFile].map((name) => existsSync(pathOf(name)))).toEqual([true, true]);
      signalAll(lanes, 'SIGCONT');
      expect((await ended(web.url, running, headers)).state).toBe('SUCCESS');
      expect((await getTask(web.url, waiting, headers)).state).toBe('PENDING');
    } finally {
      signalAll(lanes, 'SIGCONT');
    }
    await call(`${web.url}/api/task/${waiting}`, { method: 'DELETE', headers });
  });

  it('orphans go, young files, foreign files and what is being written stay', async () => {
    const base = newBase();
    const gone = [
      place(originalName(base, 'png'), 60),
      place(annotatedName(base, 'png'), 60),
      place(`${newBase()}.json`, 60),
    ];
    const young = place(originalName(newBase(), 'jpg'), 0);
    const kept = [place('notes.txt', 1e6), place('.gitkeep', 1e6), place(join('.tmp', `${newBase()}.part`), 60)];
    const abandoned = place(join('.tmp', `${newBase()}.part`), 7300);
    await waitFor('a sweep', () => [...gone, abandoned].every((path) => !existsSync(path)), { timeoutMs: 5000 });
    expect(existsSync(young)).toBe(true);
    expect(kept.map(existsSync)).toEqual([true, true, true]);
    await waitFor('the young one to grow old', () => !existsSync(young), { timeoutMs: 10_000 });
  });

  it('are kept by one web process of several', async () => {
    const others = await Promise.all([1, 2].map(() => startAnotherWeb(web.folders, web.env)));
    try {
      const answers = await Promise.all(
        [web, ...others].map(({ url }) => post(url, 'face/image', { file, query: 'wait=20', headers })),
      );
      const files = answers.map(({ body }) => fileOf((body.data.result as { original_image: string }).original_image));
      await waitFor('their files to go', () => files.every((path) => !existsSync(path)), { timeoutMs: 15_000 });
    } finally {
      await Promise.all(others.map((other) => other.stop()));
    }
    // Whoever swept, the next sweep is not held up by one that has stopped.
    const orphan = place(originalName(newBase(), 'jpg'), 3600);
    await waitFor('a sweep', () => !existsSync(orphan), { timeoutMs: 5000 });
  });
});
