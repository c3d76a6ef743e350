import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkKeys, recordKey } from '../../src/queue/key-record.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { createKeyring, NO_KEYS, type SealingKey } from '../../src/sealing/keyring.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

const key = (id: string): SealingKey => ({ id, secret: new Uint8Array(randomBytes(32)) });

describe('the keys in use', () => {
  let server: TestRedis;
  let redis: ReturnType<TestRedis['client']>;
  beforeAll(async () => {
    server = await startRedis();
    redis = server.client();
  });
  afterAll(() => server?.stop());
  beforeEach(() => redis.flushall());

  /** What a start logs, as lines of level and message. */
  async function startWith(keys: SealingKey[], keptSeconds = 3600): Promise<string[]> {
    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => lines.push(line) });
    await checkKeys(redis, createKeyring(keys), keptSeconds, log);
    return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  }

  it('are written down, and nothing is said while all are there', async () => {
    const [a, b] = [key('a'), key('b')];
    expect(await startWith([a])).toEqual([]);
    expect(await startWith([b, a])).toEqual([]);
    expect(Object.keys(await redis.hgetall(KEYS.encryptionKeys())).sort()).toEqual(['a', 'b']);
  });

  it('are named at the start of a process that lacks one', async () => {
    await startWith([key('a')]);
    for (const keys of [[], [key('b')]]) {
      expect(await startWith(keys)).toEqual([
        'results and files are encrypted with the key "a", which RESULT_ENCRYPTION_KEY lacks',
      ]);
    }
  });

  it('are told apart where two have one id, and the first stays on record', async () => {
    const first = key('a');
    await startWith([first]);
    expect(await startWith([key('a')])).toEqual([
      'the key "a" of RESULT_ENCRYPTION_KEY is another one than that of other processes',
    ]);
    expect(await startWith([first])).toEqual([]);
  });

  it('stay on record whatever a process with another one of the same id refreshes', async () => {
    const [right, wrong] = [key('a'), key('a')];
    const recorded = async () =>
      JSON.parse((await redis.hget(KEYS.encryptionKeys(), 'a')) ?? '') as { at: number; fingerprint: string };
    await startWith([right]);
    const first = await recorded();
    await recordKey(redis, createKeyring([wrong]));
    expect(await recorded()).toEqual(first);
    expect(await startWith([right])).toEqual([]);
    await sleep(5);
    await recordKey(redis, createKeyring([right]));
    const refreshed = await recorded();
    expect(refreshed.fingerprint).toBe(first.fingerprint);
    expect(refreshed.at).toBeGreaterThan(first.at);
  });

  it('are forgotten once nothing of theirs is left', async () => {
    await startWith([key('a')]);
    expect(await startWith([], -1)).toEqual([]);
    expect(await redis.hgetall(KEYS.encryptionKeys())).toEqual({});
  });

  it('hold no secret', async () => {
    const mine = key('a');
    await recordKey(redis, createKeyring([mine]));
    const record = JSON.stringify(await redis.hgetall(KEYS.encryptionKeys()));
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const)
      expect(record).not.toContain(Buffer.from(mine.secret).toString(encoding).slice(0, 8));
    await recordKey(redis, NO_KEYS);
  });
});
