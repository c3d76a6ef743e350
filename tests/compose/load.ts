import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, type Envelope } from '../support/api.ts';
import { sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

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

  async function postOne(kind: 'face' | 'object'): Promise<void> {
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

export async function serviceHealth(url: string, kind: 'face' | 'object'): Promise<ServiceHealth> {
  const { body } = await call(`${url}/api/health`);
  return (body.data.services as Record<string, ServiceHealth>)[`${kind}_detection`] as ServiceHealth;
}

/** Waits until so many workers of a kind are listed and ready. */
export async function expectWorkers(url: string, kind: 'face' | 'object', count: number): Promise<void> {
  await waitFor(
    `${count} ${kind} workers`,
    async () => {
      const { workers, slots } = await serviceHealth(url, kind);
      return workers === count && slots >= count;
    },
    { timeoutMs: 90_000, intervalMs: 250 },
  );
}
