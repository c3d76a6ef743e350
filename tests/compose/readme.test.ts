import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectWorkers, FACES } from './load.ts';
import { createStack, ROOT, run, VERSIONS } from './stack.ts';

const SECTION = /^## Docker Compose$(.*?)^## /ms.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '';
const COMMANDS = (/^```bash\n(.*?)^```$/ms.exec(SECTION)?.[1] ?? '').trim().split('\n');

describe.skipIf(!requireShared()).each(VERSIONS)('the commands of the README with Compose %i', async (version) => {
  const stack = await createStack(version);
  afterAll(() => stack.down());

  it('do what they are for', async () => {
    const [up = '', list = '', logs = '', fewer = '', down = '', ...more] = COMMANDS;
    expect(more).toEqual([]);
    const program = version === 2 ? 'docker compose' : 'docker-compose';
    const shell = (command: string) =>
      run('bash', ['-c', command.replace('docker compose', program)], stack.environment);
    const idsOf = async (service: string) => (await stack.containers(service)).map(({ Id }) => Id);

    expect(up).toMatch(/ up --build .*--scale face-worker=5 --scale object-worker=3$/);
    await shell(up);
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    await Promise.all([expectWorkers(stack.url, 'face', 5), expectWorkers(stack.url, 'object', 3)]);
    const id = await submit(stack.url, 'face/image', { file: FACES() });
    expect((await taskIn(stack.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 })).state).toBe('SUCCESS');

    expect((await shell(list)).match(/-worker[-_]\d/g)?.length).toBeGreaterThanOrEqual(8);
    expect(await shell(logs)).toMatch(/user admin, password \S+/);
    expect(fewer).toMatch(/ up -d --scale face-worker=2 --scale object-worker=3$/);
    const stay = { redis: 1, web: 1, dashboard: 1, 'face-worker': 2, 'object-worker': 3 };
    const before = (await Promise.all(Object.keys(stay).map(idsOf))).flat();
    await shell(fewer);
    for (const [service, count] of Object.entries(stay)) {
      const after = await idsOf(service);
      expect(after, service).toHaveLength(count);
      // The very same containers: nothing that stays was started anew.
      expect(before, service).toEqual(expect.arrayContaining(after));
    }
    await expectWorkers(stack.url, 'face', 2);
    await shell(down);
    expect(await stack.containers()).toEqual([]);
  });
});
