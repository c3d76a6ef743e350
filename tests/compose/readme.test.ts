import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectWorkers, FACES } from './load.ts';
import { createStack, HAS_V2, ROOT, run } from './stack.ts';

const SECTION = /^## Docker Compose$(.*?)^## /ms.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '';
const COMMANDS = (/^```bash\n(.*?)^```$/ms.exec(SECTION)?.[1] ?? '').trim().split('\n');

describe.skipIf(!requireShared() || !HAS_V2)('the commands for Docker Compose in the README', async () => {
  const stack = await createStack(2);
  afterAll(() => stack.down());

  it('do what they are for', async () => {
    const [up = '', list = '', logs = '', fewer = '', down = '', ...more] = COMMANDS;
    expect(more).toEqual([]);
    const shell = (command: string) => run('bash', ['-c', command], stack.environment);

    expect(up).toMatch(/ up --build .*--scale face-worker=5 --scale object-worker=3$/);
    await shell(up);
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    await Promise.all([expectWorkers(stack.url, 'face', 5), expectWorkers(stack.url, 'object', 3)]);
    const id = await submit(stack.url, 'face/image', { file: FACES() });
    expect((await taskIn(stack.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 60_000 })).state).toBe('SUCCESS');

    expect((await shell(list)).match(/-worker-\d/g)?.length).toBeGreaterThanOrEqual(8);
    expect(await shell(logs)).toMatch(/user admin, password \S+/);
    await shell(fewer);
    await expectWorkers(stack.url, 'face', 2);
    await shell(down);
    expect(await stack.containers()).toEqual([]);
  });
});
