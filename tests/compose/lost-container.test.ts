import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { containerOf, expectAllDone, expectWorkers, scaleTo, startLoad, video } from './load.ts';
import { createStack, docker, type Stack, VERSIONS } from './stack.ts';

/** The older Compose where there is one: the newer one's scaling has a test of its own. */
const version = VERSIONS.at(-1) ?? 2;

describe.skipIf(!requireShared())(`under load, with Compose ${version}`, () => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(version);
    await stack.compose('up', '-d', '--scale', 'face-worker=2', '--scale', 'object-worker=1');
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    await Promise.all([expectWorkers(stack.url, 'face', 2), expectWorkers(stack.url, 'object', 1)]);
  });
  afterAll(async () => {
    await stack?.down();
  });

  it('scales in and out without losing or doubling a task', async () => {
    const load = startLoad(stack.url);
    onTestFailed(() => void load.stop());
    await scaleTo(stack, { face: 1, object: 1 });
    await scaleTo(stack, { face: 3, object: 1 });
    await load.stop();
    expect(load.refused).toBe(0);
    await expectAllDone(stack, load.accepted);
  });

  it('loses no task of a container that is removed in the middle of it and stays gone', async () => {
    const load = startLoad(stack.url, 2);
    onTestFailed(() => void load.stop());
    const file = { file: video('people-one-by-one.mp4'), name: 'people.mp4', fields: { annotate: 'false' } };
    const id = await submit(stack.url, 'face/video', file);
    const running = await taskIn(stack.url, id, ['PROCESSING'], { timeoutMs: 60_000 });
    const victim = await containerOf(stack, running.worker);
    await docker('rm', '-f', victim.Id);
    const ended = await taskIn(stack.url, id, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs: 180_000 });
    expect(ended).toMatchObject({ state: 'SUCCESS', attempts: 2 });
    expect(ended.worker).not.toBe(running.worker);
    await load.stop();
    expect(load.refused).toBe(0);
    await expectAllDone(stack, [...load.accepted, id]);
    expect((await stack.containers('face-worker')).map(({ Id }) => Id)).not.toContain(victim.Id);
    expect(await stack.containers('face-worker')).toHaveLength(2);
    await expectWorkers(stack.url, 'face', 2);
  });
});
