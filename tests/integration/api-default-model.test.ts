import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { StartError } from '../../src/errors.ts';
import { call, ended, expectError, post, submit } from '../support/api.ts';
import { goodPicture } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { startWeb, type TestWeb } from '../support/web.ts';

describe.skipIf(!requireShared())('where the default model is missing', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ env: { FACE_MODEL: 'yunet_s' } });
  });
  afterAll(async () => {
    await web?.stop();
  });

  it('another one may be named, in the form as in the query', async () => {
    expectError(await post(web.url, 'face/image', { file }), 503, 'MODEL_UNAVAILABLE');
    for (const upload of [{ fields: { model: 'yunet' } }, { query: 'model=yunet' }]) {
      const task = await ended(web.url, await submit(web.url, 'face/image', { file, ...upload }));
      expect(task.result).toMatchObject({ faces_detected: 1, model: 'yunet' });
    }
  });

  it.each(['meta', 'id', 'events', 'completed', 'metrics:completed', 'x'])('there is no task %s', async (id) => {
    expectError(await call(`${web.url}/api/task/${id}`), 404, 'TASK_NOT_FOUND');
    expectError(await call(`${web.url}/api/task/${id}`, { method: 'DELETE' }), 404, 'TASK_NOT_FOUND');
  });

  it('uploads are for the service alone', () => {
    expect(statSync(web.folders.uploads).mode & 0o077).toBe(0);
    expect(statSync(join(web.folders.uploads, '.tmp')).mode & 0o077).toBe(0);
  });
});

describe('settings', () => {
  it.each([
    ['REDIS_URL', 'redis://h:notaport'],
    ['REDIS_URL', 'redis://127.0.0.1:1/abc'],
    ['REDIS_CA_FILE', '/nope'],
    ['CORS_ORIGINS', 'notanorigin'],
    ['API_KEYS', 'a:k,b:k'],
    ['TASK_TIME_LIMIT', '2147484'],
  ])('%s=%s stops with a sentence that names it', (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(StartError);
    expect(() => loadConfig({ [name]: value })).toThrow(name);
  });
});
