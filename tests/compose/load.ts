import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { call, type Envelope, taskIn } from '../support/api.ts';
import { sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import type { ContainerInfo, Stack } from './stack.ts';

const KINDS = ['face', 'object'] as const;
type Kind = (typeof KINDS)[number];

export const PICTURE = () => readFileSync(sharedPath('data/samples/dog.jpg'));
export const FACES = () => readFileSync(sharedPath('data/bad/image/good.jpg'));
export const video = (name: string) => readFileSync(sharedPath(`data/videos/${name}`));

export type Load = {
  /** Ids of the tasks that were accepted so far. */
  accepted: string[];
  /** Requests that were refused or got no answer. */
  refused: number;
  /** Resolves once the last request is answered. */
  stop(): Promise<void>;
};

/** Posts pictures to both kinds until it is stopped, so many requests at a time. */
export function startLoad(url: string, clients = 3): Load {
  const files = { face: FACES(), object: PICTURE() };
  let going = true;
  const load: Load = {
    accepted: [],
    refused: 0,
    async stop() {
      going = false;
      await running;
    },
  };

  async function postOne(kind: Kind): Promise<void> {
    try {
      const form = new FormData();
      form.append('file', new Blob([files[kind]]), 'picture.jpg');
      const response = await fetch(`${url}/api/detect/${kind}/image`, { method: 'POST', body: form });
      const body = (await response.json()) as Envelope;
      if (response.status === 202) load.accepted.push(String(body.data.task_id));
      else load.refused++;
    } catch {
      load.refused++;
      await sleep(100);
    }
  }

  const client = async (number: number) => {
    while (going) {
      await postOne(number % 2 === 0 ? 'face' : 'object');
      await sleep(60);
    }
  };
  const running = Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return load;
}

export type ServiceHealth = { up: boolean; workers: number; slots: number; model: string | null; reason?: string };

export async function serviceHealth(url: string, kind: Kind): Promise<ServiceHealth> {
  const { body } = await call(`${url}/api/health`);
  return (body.data.services as Record<string, ServiceHealth>)[`${kind}_detection`] as ServiceHealth;
}

/** Waits until so many workers of a kind are listed and ready. */
export async function expectWorkers(url: string, kind: Kind, count: number): Promise<void> {
  await waitFor(
    `${count} ${kind} workers`,
    async () => {
      const { workers, slots } = await serviceHealth(url, kind);
      return workers === count && slots >= count;
    },
    { timeoutMs: 90_000, intervalMs: 250 },
  );
}

/** The container of the worker with this name. */
export async function containerOf(stack: Stack, worker: string | undefined): Promise<ContainerInfo> {
  const containers = await stack.containers(`${worker?.split('_')[0]}-worker`);
  const texts = await Promise.all(containers.map((container) => stack.logs(container)));
  const found = containers[texts.findLastIndex((text) => text.includes(`"worker":"${worker}"`))];
  if (found === undefined) throw new Error(`No container is ${worker}.`);
  return found;
}

/** Ids of the containers of workers, and which worker each is, as far as it has said so. */
async function namesById(stack: Stack): Promise<Map<string, string | undefined>> {
  const containers = (await Promise.all(KINDS.map((kind) => stack.containers(`${kind}-worker`)))).flat();
  const entries = containers.map(async (container) => {
    const said = [...(await stack.logs(container)).matchAll(/"worker":"(\w+)"/g)];
    return [container.Id, said.at(-1)?.[1]] as const;
  });
  return new Map(await Promise.all(entries));
}

/** What a worker's log told last: that it is ready, or that it has stopped. */
const stateIn = (text: string | undefined) => [...(text ?? '').matchAll(/"msg":"worker (ready|stopped)"/g)].at(-1)?.[1];

/** From the return of `up` until the list of workers and their logs have followed. */
const FOLLOWS_WITHIN_MS = 15_000;

/** Scales by `up`, sees that the list of workers and their logs follow, and waits until all of them take tasks. */
export async function scaleTo(stack: Stack, counts: Record<Kind, number>): Promise<void> {
  const all = counts.face + counts.object;
  const before = await namesById(stack);
  await stack.compose('up', '-d', ...KINDS.flatMap((kind) => ['--scale', `${kind}-worker=${counts[kind]}`]));
  const after = await namesById(stack);
  const gone = [...before].filter(([id]) => !after.has(id)).map(([, name]) => name);
  await waitFor(
    'the list of workers and their logs',
    async () => {
      const logs = stack.logFiles();
      for (const kind of KINDS) {
        if ((await serviceHealth(stack.url, kind)).workers !== counts[kind]) return false;
        if ([...logs.keys()].filter((name) => name.startsWith(kind)).length < counts[kind]) return false;
      }
      return gone.every((name) => stateIn(logs.get(`${name}.log`)) === 'stopped');
    },
    { timeoutMs: FOLLOWS_WITHIN_MS, intervalMs: 250 },
  );
  await Promise.all(KINDS.map((kind) => expectWorkers(stack.url, kind, counts[kind])));
  await waitFor(
    'a log of each worker that says that it is ready',
    async () => {
      const names = new Set((await namesById(stack)).values());
      const logs = stack.logFiles();
      return names.size === all && [...names].every((name) => stateIn(logs.get(`${name}.log`)) === 'ready');
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );
}

/** Every accepted task has ended well, and was finished by one worker only. */
export async function expectAllDone(stack: Stack, ids: readonly string[]): Promise<void> {
  expect(ids.length).toBeGreaterThan(0);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) {
    const { state } = await taskIn(stack.url, id, ['SUCCESS', 'FAILURE', 'REVOKED'], { timeoutMs: 120_000 });
    expect(state, id).toBe('SUCCESS');
  }
  const finished = new Map<string, number>();
  for (const text of stack.logFiles().values()) {
    for (const line of text.split('\n').filter((entry) => entry.includes('"msg":"task done"'))) {
      const { taskId } = JSON.parse(line) as { taskId: string };
      finished.set(taskId, (finished.get(taskId) ?? 0) + 1);
    }
  }
  expect(ids.filter((id) => finished.get(id) !== 1)).toEqual([]);
}
