import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectWorkers, video } from './load.ts';
import { createStack, type Stack, VERSIONS } from './stack.ts';

const SOCKET = '/var/run/docker.sock';

/** One more while videos wait, one less as soon as none does: the one that goes has a video in its hands then. */
const RULES = {
  every_s: 1,
  workers: {
    face: {
      min: 1,
      max: 2,
      cooldown: { up_s: 0, down_s: 0 },
      rules: [
        { if: { length: { above: 1 } }, add: 1 },
        { if: { length: { below: 1 } }, add: -1 },
      ],
    },
  },
};

type Entry = { msg: string; time: number | string; container?: string; taskId?: string; to?: number };
const entriesOf = (log: string) =>
  log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Entry);
const at = ({ time }: Entry) => new Date(time).getTime();

describe.skipIf(!requireShared()).each(VERSIONS)('the service autoscaler of Compose %i', (version) => {
  const rules = join(tempDir('rules'), 'autoscale.json');
  let stack: Stack;

  beforeAll(async () => {
    writeFileSync(rules, JSON.stringify(RULES), { mode: 0o644 });
    stack = await createStack(version, { AUTOSCALE_FILE: rules, DOCKER_GID: String(statSync(SOCKET).gid) });
    const scale = ['--scale', 'face-worker=1', '--scale', 'object-worker=1'];
    await stack.compose('--profile', 'autoscale', 'up', '-d', ...scale);
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/live`)).ok, { timeoutMs: 60_000 });
    await expectWorkers(stack.url, 'face', 1);
  });
  afterAll(async () => {
    await stack?.down();
  });

  const autoscaler = async () => {
    const [container] = await stack.containers('autoscaler');
    if (container === undefined) throw new Error('There is no autoscaler.');
    return container;
  };
  const logOfAutoscaler = async () => entriesOf(await stack.logs(await autoscaler()));

  it('runs as an ordinary user, in the group of the socket', async () => {
    const { Config, HostConfig, State, NetworkSettings } = await autoscaler();
    expect(State.Status).toBe('running');
    expect(Config.User).toBe('node');
    expect(HostConfig).toMatchObject({ CapDrop: ['ALL'], CapAdd: null, ReadonlyRootfs: true });
    expect(HostConfig.GroupAdd).toEqual([String(statSync(SOCKET).gid)]);
    expect(Object.keys(NetworkSettings.Networks)).toEqual([`${stack.project}_back`]);
    const secrets = Config.Env.filter((line) => /PASSWORD|SECRET|TOKEN|KEY/.test(line.split('=')[0] ?? ''));
    expect(secrets).toEqual([]);
  });

  it('adds a worker while tasks wait, and lets it drain when none does; no task is lost', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 6; n++) {
      const file = { file: video('people-one-by-one.mp4'), name: 'people.mp4' };
      // The last two are the longest by far: when none waits any more, each of the workers has one of them.
      const fields = { annotate: 'false', frame_skip: n < 4 ? '5' : '2' };
      ids.push(await submit(stack.url, 'face/video', { ...file, fields }));
    }
    await expectWorkers(stack.url, 'face', 2);
    expect(await stack.compose('ps')).toMatch(/face-worker[-_]2/);
    for (const id of ids) {
      const task = await taskIn(stack.url, id, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs: 120_000 });
      expect(task.state, JSON.stringify(task.error)).toBe('SUCCESS');
    }
    await waitFor('one worker', async () => (await stack.containers('face-worker')).length === 1, {
      timeoutMs: 90_000,
    });
    await expectWorkers(stack.url, 'face', 1);

    const told = await logOfAutoscaler();
    const dismissed = told.find(({ msg, to }) => msg === 'changing the workers' && to === 1);
    const removed = told.find(({ msg }) => msg === 'worker container drained and removed');
    expect(removed?.container).toMatch(/face-worker[-_]2$/);
    const done = [...stack.logFiles()]
      .filter(([name]) => name.startsWith('face_worker_'))
      .flatMap(([name, text]) =>
        entriesOf(text)
          .filter(({ msg }) => msg === 'task done')
          .map((entry) => ({ ...entry, name })),
      );
    expect(done.map(({ taskId }) => taskId).sort()).toEqual(ids.toSorted());
    const last = done.filter(({ name }) => name === 'face_worker_2.log').at(-1);
    if (dismissed === undefined || removed === undefined || last === undefined) throw new Error('Nothing was drained.');
    expect(at(last)).toBeGreaterThan(at(dismissed));
    expect(at(last)).toBeLessThan(at(removed));
  });

  it('says last which group it must be in, and where the socket is not', async () => {
    const startWith = (settings: Record<string, string>) =>
      stack.withSettings(settings).compose('--profile', 'autoscale', 'up', '-d', 'autoscaler');
    const expectLast = (sentence: RegExp) =>
      waitFor(`${sentence}`, async () => sentence.test(await stack.lastLine('autoscaler')), { timeoutMs: 30_000 });
    await startWith({ DOCKER_GID: '54321' });
    await expectLast(
      new RegExp(`is for group ${statSync(SOCKET).gid} only: set DOCKER_GID=${statSync(SOCKET).gid} in`),
    );
    await startWith({ DOCKER_SOCKET: join(tempDir('nothing'), 'docker.sock') });
    await expectLast(/is no socket of an engine\. Set DOCKER_SOCKET/);
    await startWith({ AUTOSCALE_FILE: join(tempDir('nothing'), 'rules.json') });
    await expectLast(/is a folder; AUTOSCALE_FILE must name a file/);
    expect(await stack.containers('face-worker')).toHaveLength(1);
  });
});
