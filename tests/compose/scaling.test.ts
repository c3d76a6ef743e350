import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import type { FaceVideoResult, ImageResult } from '../../src/contract/results.ts';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { containerOf, expectAllDone, expectWorkers, FACES, PICTURE, scaleTo, startLoad, video } from './load.ts';
import { createStack, docker, HAS_V2, type Stack } from './stack.ts';

const END = ['SUCCESS', 'FAILURE', 'REVOKED'];

describe.skipIf(!requireShared())('the parts under Compose', () => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(HAS_V2 ? 2 : 1);
    await stack.compose('up', '-d', '--scale', 'face-worker=3');
  });
  afterAll(async () => {
    await stack?.down();
  });

  const workersAre = (kind: 'face' | 'object', count: number) => expectWorkers(stack.url, kind, count);

  const endOf = <R extends ImageResult | FaceVideoResult>(id: string, timeoutMs = 120_000) =>
    taskIn<R>(stack.url, id, END, { timeoutMs });

  it('gets its first results', async () => {
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    const [object, face] = await Promise.all([
      submit(stack.url, 'object/image', { file: PICTURE() }),
      submit(stack.url, 'face/image', { file: FACES() }),
    ]);
    const task = await endOf<ImageResult>(object);
    expect(task).toMatchObject({ state: 'SUCCESS', result: { model: 'yolox_nano' } });
    const copy = await fetch(`${stack.url}${task.result?.annotated_image}`);
    expect({ status: copy.status, type: copy.headers.get('content-type') }).toEqual({
      status: 200,
      type: 'image/jpeg',
    });
    expect((await endOf(face)).result).toMatchObject({ faces_detected: 1, model: 'yunet' });
    await Promise.all([workersAre('face', 3), workersAre('object', 2)]);
  });

  it('analyses a video, and serves the copy with the boxes', async () => {
    const id = await submit(stack.url, 'face/video', { file: video('two-faces.mp4'), name: 'two-faces.mp4' });
    const task = await endOf<FaceVideoResult>(id);
    expect(task.state, JSON.stringify(task.error)).toBe('SUCCESS');
    expect(task.result?.frames_with_faces?.length).toBeGreaterThan(0);
    const copy = await fetch(`${stack.url}${task.result?.annotated_video}`, { headers: { range: 'bytes=0-99' } });
    expect({ status: copy.status, type: copy.headers.get('content-type') }).toEqual({ status: 206, type: 'video/mp4' });
    await copy.arrayBuffer();
  });

  it('survives a worker that is killed in the middle of a video', async () => {
    const id = await submit(stack.url, 'face/video', {
      file: video('people-one-by-one.mp4'),
      name: 'people.mp4',
      fields: { annotate: 'false' },
    });
    const running = await taskIn<FaceVideoResult>(stack.url, id, ['PROCESSING'], { timeoutMs: 30_000 });
    const victim = await containerOf(stack, running.worker);
    // The kernel would do the same for lack of memory: the worker is gone without a word, and its container ends.
    const child = await docker('exec', victim.Id, 'cat', '/proc/1/task/1/children');
    await docker('exec', victim.Id, 'bash', '-c', `kill -9 ${child.trim()}`).catch(() => '');
    const task = await endOf<FaceVideoResult>(id, 180_000);
    expect(task).toMatchObject({ state: 'SUCCESS', attempts: 2 });
    await waitFor(
      'the container to be started again',
      async () => {
        const [now] = (await stack.containers('face-worker')).filter(({ Id }) => Id === victim.Id);
        return now !== undefined && now.RestartCount > 0 && now.State.Status === 'running';
      },
      { timeoutMs: 30_000 },
    );
    await workersAre('face', 3);
  });

  it('scales in and out under load without losing or doubling a task', async () => {
    const load = startLoad(stack.url);
    onTestFailed(() => void load.stop());
    await scaleTo(stack, { face: 1, object: 1 });
    expect(await stack.containers('face-worker')).toHaveLength(1);
    await scaleTo(stack, { face: 4, object: 2 });
    expect(stack.logFiles().has('face_worker_4.log')).toBe(true);
    await scaleTo(stack, { face: 2, object: 1 });
    await load.stop();
    expect(load.refused).toBe(0);
    expect(load.accepted.length).toBeGreaterThan(20);
    await expectAllDone(stack, load.accepted);
  });

  it('loses nothing when Redis is started anew', async () => {
    const load = startLoad(stack.url);
    onTestFailed(() => void load.stop());
    await waitFor('some tasks', () => load.accepted.length > 10, { timeoutMs: 20_000 });
    await stack.compose('restart', 'redis');
    const before = load.accepted.length;
    await waitFor('tasks after the restart', () => load.accepted.length > before + 10, { timeoutMs: 60_000 });
    await load.stop();
    for (const id of load.accepted) expect((await endOf(id)).state, id).toBe('SUCCESS');
  });

  it('stops every part in order when it is asked to', async () => {
    const ours = ['web', 'dashboard', 'face-worker', 'object-worker', 'redis'];
    await stack.compose('stop');
    for (const service of ours) {
      for (const { State } of await stack.containers(service))
        expect({ service, ...State }).toMatchObject({ ExitCode: 0 });
    }
  });
});
