import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageResult } from '../../src/contract/results.ts';
import { getTask, post, submit, taskIn } from '../support/api.ts';
import { type LifecycleStore, startLifecycleStore } from '../support/lifecycle-store.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { startBucket, type TestBucket } from '../support/s3.ts';
import { makeHome, runToEnd, type Service, startService } from '../support/service.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

describe.skipIf(!requireShared())('the whole service with object storage and a key', () => {
  let bucket: TestBucket;
  let store: LifecycleStore;
  let service: Service;
  let temporary: string;
  beforeAll(async () => {
    bucket = await startBucket();
    store = await startLifecycleStore(bucket.endpoint);
    const home = await makeHome({
      ...bucket.env,
      S3_ENDPOINT: store.endpoint,
      S3_EXPIRY_RULE: 'true',
      RESULT_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}`,
      WORKER_CONCURRENCY: '1',
    });
    temporary = join(home.root, 'scratch');
    home.environment.TMP_DIR = temporary;
    service = await startService({ home });
  });
  afterAll(async () => {
    await service?.stop();
    await store?.stop();
    await bucket?.stop();
  });

  it('has the store itself remove files in the end', async () => {
    await waitFor('the rule', () => store.rules() !== undefined);
    expect(store.rules()).toContain('<Prefix>files/</Prefix>');
    expect(store.rules()).toContain('<Expiration><Days>8</Days></Expiration>');
  });

  it('keeps files in the bucket alone, encrypted', async () => {
    const file = goodPicture();
    const { body } = await post(service.url, 'face/image', { file, query: 'wait=30&annotate=true' });
    const { original_image: original } = body.data.result as ImageResult;
    const back = await fetch(`${service.url}${original}`);
    expect(new Uint8Array(await back.arrayBuffer())).toEqual(file);
    const names = bucket.names();
    expect(names.length).toBe(2);
    for (const name of names) {
      expect(name).toMatch(/\.jpg\.sealed$/);
      expect(readFileSync(bucket.pathOf(name)).subarray(0, 8).toString()).toBe('RCGSEAL1');
    }
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('takes up a video again whose worker was killed, and leaves no copy of it', async () => {
    const file = sharedFile('videos/people-one-by-one.mp4');
    const id = await submit(service.url, 'face/video', { file, fields: { frame_skip: '40', annotate: 'false' } });
    await waitFor('progress', async () => ((await getTask(service.url, id)).progress?.done ?? 0) > 0);
    expect(readdirSync(temporary).length).toBeGreaterThan(0);
    service.kill9('worker:face');
    const task = await taskIn(service.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 120_000 });
    expect([task.state, task.attempts]).toEqual(['SUCCESS', 2]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it.each(['web', 'worker:face'] as const)('%s does not start with a bucket that is not there', async (role) => {
    const { code, output } = await runToEnd(
      service.home,
      { STORAGE_URL: 's3://nobody-made-it/files', PORT: '0' },
      role,
    );
    expect(code).toBe(78);
    expect(output.trim().split('\n').at(-1)).toBe(
      'STORAGE_URL names the bucket nobody-made-it, which does not exist. Make it, or name another.',
    );
  });
});
