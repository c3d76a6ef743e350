import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import sharp from 'sharp';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LaneLostError, TransientError } from '../../src/errors.ts';
import { createLanes, type Lanes } from '../../src/lanes/lanes.ts';
import type { LaneTask, PictureTask } from '../../src/lanes/protocol.ts';
import { ownChild } from '../support/child.ts';
import { isGone } from '../support/processes.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';
import { pullModels } from '../support/web.ts';

const DOG = sharedPath('data/samples/dog.jpg');
const log = pino({ level: 'silent' });
/** `man 7 sched`, and the 41st field of `/proc/<pid>/stat`. */
const SCHED_BATCH = 3;
const policyOf = (pid: number) => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[38]);
const never = new AbortController().signal;

describe.skipIf(!requireShared())('detection processes', () => {
  const folder = tempDir('lanes');
  const bigPicture = join(folder, 'big.jpg');
  let open: Lanes[] = [];

  const settings = (warm: string[], modelsDir = folder) => ({
    modelsDir,
    shippedManifest: new URL('../../models/manifest.json', import.meta.url).pathname,
    warm,
    executionProviders: ['cpu' as const],
    haarLongestSide: 2000,
    renderThreads: 1,
    imagePixels: 100_000_000,
  });

  function start(count: number, { warm = ['yolox_nano'], maxTasks = 1000, modelsDir = folder } = {}): Lanes {
    const lanes = createLanes(count, settings(warm, modelsDir), maxTasks, log);
    open.push(lanes);
    return lanes;
  }

  const pidsOf = async (lanes: Lanes) => (await lanes.usage()).map(({ pid }) => pid);

  async function onlyPid(lanes: Lanes): Promise<number> {
    const [pid] = await pidsOf(lanes);
    if (pid === undefined) throw new Error('There is no detection process.');
    return pid;
  }

  function task(changes: Partial<PictureTask> = {}, model = 'yolox_nano'): LaneTask {
    return {
      media: 'image',
      taskId: 'test',
      kind: 'object',
      path: DOG,
      mime: 'image/jpeg',
      width: 768,
      height: 576,
      options: { model, confidence: 0.3, nms: 0.45, max_detections: 100, annotate: 'false', priority: 5 },
      annotateInto: null,
      ...changes,
    };
  }

  /** Several seconds of work that cannot be interrupted from within. */
  const slowTask = () => task({ kind: 'face', path: bigPicture, width: 2000, height: 1500 }, 'haar');

  async function labels(lanes: Lanes, signal: AbortSignal = never): Promise<string[]> {
    const answer = await lanes.run(task(), signal);
    if (!answer.ok) throw new Error(answer.message);
    return (answer.findings.objects ?? []).map((object) => object.class);
  }

  beforeAll(async () => {
    await pullModels(folder, ['yolox_nano', 'haar']);
    await writeFile(bigPicture, await sharp(DOG).resize(2000, 1500, { fit: 'fill' }).jpeg().toBuffer());
  });

  afterEach(async () => {
    await Promise.all(open.map((lanes) => lanes.close()));
    open = [];
  });

  it('runs tasks in processes of its own whose command lines say what they are', async () => {
    const lanes = start(2);
    expect(await lanes.warm()).toEqual([]);
    const pids = await pidsOf(lanes);
    expect(new Set(pids).size).toBe(2);
    for (const pid of pids) expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('lane');
    for (const pid of pids) expect(policyOf(pid)).toBe(SCHED_BATCH);
    expect(await labels(lanes)).toContain('dog');
    expect(await pidsOf(lanes)).toEqual(pids);
  });

  it('runs no more at a time than there are processes, in the order of asking', async () => {
    const lanes = start(1);
    const ended: number[] = [];
    await Promise.all([1, 2, 3, 4].map(async (number) => labels(lanes).then(() => ended.push(number))));
    expect(ended).toEqual([1, 2, 3, 4]);
  });

  it.each(['SIGKILL', 'SIGSEGV'] as const)(
    'says that a process died while it worked, and goes on (%s)',
    async (signal) => {
      const lanes = start(2, { warm: ['haar', 'yolox_nano'] });
      await lanes.warm();
      const [first = 0, second = 0] = await pidsOf(lanes);
      const lost = lanes.run(slowTask(), never);
      const other = lanes.run(slowTask(), never);
      await sleep(300);
      process.kill(first, signal);
      await expect(lost).rejects.toThrow(LaneLostError);
      expect((await other).ok).toBe(true);
      expect(await labels(lanes)).toContain('dog');
      const after = await pidsOf(lanes);
      expect(after).toContain(second);
      expect(after).not.toContain(first);
    },
  );

  it('counts a death under a task that a stopped process had not even taken', async () => {
    const lanes = start(1);
    await lanes.warm();
    const pid = await onlyPid(lanes);
    process.kill(pid, 'SIGSTOP');
    const lost = lanes.run(task(), never);
    setTimeout(() => process.kill(pid, 'SIGKILL'), 400);
    await expect(lost).rejects.toThrow(LaneLostError);
  });

  it('replaces a process that was killed while idle, at once and unnoticed', async () => {
    const lanes = start(1);
    await lanes.warm();
    const pid = await onlyPid(lanes);
    process.kill(pid, 'SIGKILL');
    // At the same moment, before anybody can know.
    expect(await labels(lanes)).toContain('dog');
    const next = await onlyPid(lanes);
    process.kill(next, 'SIGKILL');
    await waitFor('a new process', async () => (await pidsOf(lanes)).some((other) => other !== next));
    expect(await labels(lanes)).toContain('dog');
  });

  it('does not blame the task that waits for it where a process is killed while it loads', async () => {
    const lanes = start(1);
    const lost = lanes.run(task(), never).catch((error: unknown) => error);
    process.kill(await waitFor('a process', async () => (await pidsOf(lanes))[0]), 'SIGKILL');
    const error = await lost;
    expect(error).toBeInstanceOf(TransientError);
    expect(error).not.toBeInstanceOf(LaneLostError);
    expect(await labels(lanes)).toContain('dog');
  });

  it.each(['SIGSTOP', undefined] as const)('ends a task for real when it is aborted (%s)', async (signal) => {
    const lanes = start(1, { warm: ['haar'] });
    await lanes.warm();
    const pid = await onlyPid(lanes);
    const stop = new AbortController();
    const run = lanes.run(slowTask(), stop.signal);
    await sleep(200);
    if (signal !== undefined) process.kill(pid, signal);
    const startedAt = performance.now();
    stop.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    expect(performance.now() - startedAt).toBeLessThan(3000);
    expect(isGone(pid)).toBe(true);
    expect(await labels(lanes)).toContain('dog');
  });

  it('lets a task that waits for a process be aborted without harm to others', async () => {
    const lanes = start(1);
    await lanes.warm();
    const pid = await onlyPid(lanes);
    const stop = new AbortController();
    const running = labels(lanes);
    const waiting = labels(lanes, stop.signal);
    const behind = labels(lanes);
    stop.abort(new Error('not needed any more'));
    await expect(waiting).rejects.toThrow('not needed any more');
    expect(await running).toContain('dog');
    expect(await behind).toContain('dog');
    expect(await onlyPid(lanes)).toBe(pid);
  });

  it('lets a task be aborted while its process still loads', async () => {
    const lanes = start(1);
    const stop = new AbortController();
    const run = labels(lanes, stop.signal);
    setTimeout(() => stop.abort(new Error('too late')), 20);
    const startedAt = performance.now();
    await expect(run).rejects.toThrow('too late');
    expect(performance.now() - startedAt).toBeLessThan(3000);
  });

  it('recycles processes without a gap', async () => {
    const maxTasks = 3;
    const lanes = start(1, { maxTasks });
    await lanes.warm();
    const served = new Map<number, number>();
    while (served.size < 4) {
      const pid = await onlyPid(lanes);
      expect(await labels(lanes)).toContain('dog');
      served.set(pid, (served.get(pid) ?? 0) + 1);
    }
    // Each went on beyond its share until its successor had loaded its models: no task has waited for that.
    for (const tasks of [...served.values()].slice(0, -1)) expect(tasks).toBeGreaterThan(maxTasks);
    const pids = [...served.keys()];
    const current = await onlyPid(lanes);
    await waitFor('old processes to be gone', () => pids.every((pid) => pid === current || isGone(pid)));
  });

  it('recycles the first processes one after another', async () => {
    const lanes = start(2, { maxTasks: 80 });
    await lanes.warm();
    const first = await pidsOf(lanes);
    let tasks = 0;
    while (!first.some(isGone)) {
      await Promise.all([lanes.run(task(), never), lanes.run(task(), never)]);
      tasks += 2;
      expect(tasks).toBeLessThan(400);
    }
    // The other one has half of its share left, in which the successor of the first gets ready.
    expect(first.filter(isGone)).toHaveLength(1);
  });

  it('keeps what it has compiled for the next process', async () => {
    const compiledCode = join(tempDir('code'), 'compiled');
    const files = () => readdirSync(compiledCode, { recursive: true }).length;
    for (const round of ['first', 'second']) {
      const lanes = createLanes(1, { ...settings(['yolox_nano']), compiledCode }, 1000, log);
      open.push(lanes);
      expect(await lanes.warm(), round).toEqual([]);
      expect(files()).toBeGreaterThan(50);
      expect((await lanes.run(task(), never)).ok, round).toBe(true);
    }
  });

  it('names a model that is missing and runs tasks for the others', async () => {
    const lanes = start(1, { warm: ['yunet'] });
    expect(await lanes.warm()).toEqual([expect.stringContaining('npm run models -- pull yunet')]);
    expect(await labels(lanes)).toContain('dog');
    const refused = await lanes.run(task({ kind: 'face' }, 'yunet'), never);
    expect(refused).toMatchObject({ ok: false, transient: false, code: 'MODEL_UNAVAILABLE' });
  });

  it('tells what no further attempt mends from what may pass', async () => {
    const lanes = start(1);
    const broken = join(folder, 'broken.jpg');
    await writeFile(broken, 'not a picture at all');
    const unreadable = await lanes.run(task({ path: broken }), never);
    expect(unreadable).toMatchObject({ ok: false, transient: false, code: 'UNREADABLE_MEDIA' });
    const missing = await lanes.run(task({ path: join(folder, 'nowhere.jpg') }), never);
    expect(missing).toMatchObject({ ok: false, transient: true });
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'leaves it to the worker what %s to the group means',
    async (signal) => {
      const lanes = start(1);
      await lanes.warm();
      const pid = await onlyPid(lanes);
      process.kill(pid, signal);
      await sleep(100);
      expect(await labels(lanes)).toContain('dog');
      expect(await onlyPid(lanes)).toBe(pid);
    },
  );

  it('ends them together with the process that they work for, even while they are stopped', async () => {
    const script = `
      import { pino } from 'pino';
      import { createLanes } from '${new URL('../../src/lanes/lanes.ts', import.meta.url).pathname}';
      const lanes = createLanes(2, JSON.parse(process.argv[1]), 10, pino({ level: 'silent' }));
      await lanes.warm();
      console.log(JSON.stringify((await lanes.usage()).map(({ pid }) => pid)));
      setInterval(() => undefined, 1000);`;
    const args = ['--input-type=module', '--eval', script, JSON.stringify(settings(['haar']))];
    const parent = ownChild(
      spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    const [line] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
    const [stopped = 0, idle = 0] = JSON.parse(line) as number[];
    process.kill(stopped, 'SIGSTOP');
    parent.kill('SIGKILL');
    await waitFor('both to be gone', () => isGone(stopped) && isGone(idle), { timeoutMs: 2000 });
  });

  it('leaves no process behind, whatever state it is in', async () => {
    const lanes = start(3, { warm: ['haar'] });
    await lanes.warm();
    const pids = await pidsOf(lanes);
    const [stopped = 0] = pids;
    process.kill(stopped, 'SIGSTOP');
    const runs = [lanes.run(slowTask(), never), lanes.run(slowTask(), never)].map((run) =>
      run.then(
        () => 'done',
        () => 'ended',
      ),
    );
    await sleep(200);
    await lanes.close();
    expect(pids.filter((pid) => !isGone(pid))).toEqual([]);
    expect(await Promise.all(runs)).toEqual(['ended', 'ended']);
  });
});
