import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, submit, taskIn } from '../support/api.ts';
import { makeHome, runToEnd, type Service, startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

/** By length alone: how busy the machine is otherwise must not decide. */
const RULES = {
  every_s: 1,
  workers: {
    object: {
      max: 2,
      cooldown: { up_s: 0, down_s: 3 },
      rules: [
        { if: { length: { above: 2 } }, add: 1 },
        { if: { length: { below: 1 } }, add: -1 },
      ],
    },
  },
};

describe.skipIf(!requireShared())('npm start with autoscale.json', () => {
  let service: Service;

  beforeAll(async () => {
    const home = await makeHome({ WORKER_CONCURRENCY: '1' });
    writeFileSync(join(home.root, 'autoscale.json'), JSON.stringify(RULES));
    service = await startService({ home });
  });

  afterAll(() => service?.stop());

  async function workers(): Promise<number> {
    const { body } = await call(`${service.url}/api/health`);
    const { services } = body.data as { services: Record<string, { workers: number }> };
    return services.object_detection?.workers ?? 0;
  }

  it('adds a worker while tasks wait, lets it drain when they are done, and loses none', async () => {
    expect(service.pids('worker:object')).toHaveLength(1);
    const file = new Uint8Array(readFileSync(sharedPath('data/videos/two-faces.mp4')));
    const fields = { annotate: 'false', frame_skip: '1' };
    const post = () => submit(service.url, 'object/video', { file, name: 'v.mp4', fields });
    const ids = await Promise.all(Array.from({ length: 8 }, post));
    await waitFor('a second worker', async () => (await workers()) === 2, { timeoutMs: 60_000 });
    for (const id of ids)
      expect((await taskIn(service.url, id, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs: 150_000 })).state).toBe(
        'SUCCESS',
      );
    await waitFor('the second worker to be gone', async () => (await workers()) === 1, { timeoutMs: 60_000 });
    await waitFor('its process to be gone', () => service.pids('worker:object').length === 1);
    expect(service.pids('worker:face')).toHaveLength(1);
    expect(service.output()).toMatch(/"from":1,"to":2,"reason":"length \d+"[^\n]*"msg":"changing the workers"/);
    expect(service.output()).not.toMatch(/WORKER_LOST|"level":"error"/);
  });
});

it('a wrong autoscale.json stops the start with a sentence', async () => {
  const home = await makeHome({ MODELS_DIR: 'models' });
  writeFileSync(join(home.root, 'rules.json'), '{"workers": {"object": {"max": "many"}}}');
  const wrong = await runToEnd(home, { AUTOSCALE_FILE: join(home.root, 'rules.json') });
  expect(wrong.code).toBe(78);
  expect(wrong.output).toMatch(/rules\.json cannot be used: workers\.object\.max: /);
  const missing = await runToEnd(home, { AUTOSCALE_FILE: join(home.root, 'none.json') });
  expect([missing.code, missing.output]).toEqual([
    78,
    'Wrong setting: AUTOSCALE_FILE names a file that is not there.\n',
  ]);
});
