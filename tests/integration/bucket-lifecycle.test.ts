import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { StorageError } from '../../src/errors.ts';
import { NO_KEYS } from '../../src/sealing/keyring.ts';
import { storageSettings } from '../../src/storage/settings.ts';
import { openStorage, type Storage } from '../../src/storage/storage.ts';
import { type LifecycleStore, startLifecycleStore } from '../support/lifecycle-store.ts';
import { startBucket, type TestBucket } from '../support/s3.ts';
import { tempDir } from '../support/temp.ts';

const DAY = 86_400;
const OTHER =
  '<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Transition><Days>30</Days>' +
  '<StorageClass>GLACIER</StorageClass></Transition></Rule>';
const ours = (days: number) =>
  `<Rule><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>` +
  `<Expiration><Days>${days}</Days></Expiration><Filter><Prefix>files/</Prefix></Filter><ID>recognize files/</ID>` +
  '<Status>Enabled</Status></Rule>';
const withRules = (...rules: string[]) =>
  `<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${rules.join('')}</LifecycleConfiguration>`;
/** The rules, each as its elements in alphabetical order. */
const rulesIn = (text = '') =>
  [...text.matchAll(/<Rule>(.*?)<\/Rule>/gs)].map(([, rule = '']) => rule.match(/<(\w+)>.*?<\/\1>/gs)?.sort());

describe('a bucket that removes old files by itself', () => {
  let bucket: TestBucket;
  let store: LifecycleStore;
  let storage: Storage;
  const open = (endpoint: string) => {
    const settings = { DATA_DIR: tempDir('lc'), ...bucket.env, S3_ENDPOINT: endpoint };
    return openStorage(storageSettings(loadConfig(settings)), NO_KEYS, pino({ level: 'silent' }));
  };
  beforeAll(async () => {
    bucket = await startBucket();
  });
  afterAll(() => bucket?.stop());
  beforeEach(async () => {
    store = await startLifecycleStore(bucket.endpoint);
    storage = await open(store.endpoint);
  });
  afterEach(async () => {
    storage.close();
    await store.stop();
  });

  it('gets a rule for the prefix, a week after the files are ours to remove', async () => {
    expect(await storage.expireAfter(DAY)).toEqual({ days: 8, isNew: true });
    expect(rulesIn(store.rules())).toEqual(rulesIn(ours(8)));
  });

  it('is left alone where it has that rule', async () => {
    store.given(withRules(OTHER, ours(9)));
    expect(await storage.expireAfter(2 * DAY - 5)).toEqual({ days: 9, isNew: false });
    expect(store.writes()).toBe(0);
  });

  it('keeps the rules of others when ours changes', async () => {
    store.given(withRules(ours(8), OTHER));
    expect(await storage.expireAfter(DAY + 1)).toEqual({ days: 9, isNew: true });
    expect(rulesIn(store.rules())).toEqual([...rulesIn(OTHER), ...rulesIn(ours(9))]);
  });

  it('is said to take none where the store knows no rules', async () => {
    const plain = await open(bucket.endpoint);
    await expect(plain.expireAfter(DAY)).rejects.toThrow(StorageError);
    plain.close();
  });
});
