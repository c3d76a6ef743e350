import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { NO_KEYS } from '../../src/sealing/keyring.ts';
import { storageSettings } from '../../src/storage/settings.ts';
import { openStorage } from '../../src/storage/storage.ts';
import { startSweeper } from '../../src/web/sweeper.ts';
import { startBucket, type TestBucket } from '../support/s3.ts';
import { tempDir } from '../support/temp.ts';

describe('the sweeper', () => {
  let bucket: TestBucket;
  beforeAll(async () => {
    bucket = await startBucket();
  });
  afterAll(() => bucket?.stop());

  it('does not keep its process from stopping while the store hangs', async () => {
    const log = pino({ level: 'silent' });
    const settings = storageSettings(loadConfig({ DATA_DIR: tempDir('sw'), ...bucket.env }));
    const storage = await openStorage(settings, NO_KEYS, log);
    bucket.freeze();
    const ttl = { resultTtlSeconds: 1, uploadTtlSeconds: 1, abandonedSeconds: 60 };
    const sweeper = startSweeper(storage, undefined, [], ttl, log);
    await sleep(1300);
    const start = performance.now();
    await sweeper.stop();
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(400);
    expect(took).toBeLessThan(2000);
    bucket.thaw();
    storage.close();
  });
});
