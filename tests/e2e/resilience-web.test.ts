import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { call, expectError } from '../support/api.ts';
import { DOG_PATH, startFleet } from '../support/fleet.ts';
import type { Service } from '../support/service.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const ROUNDS = 8;
const CLIENTS = 6;
const TTL_S = 20;

/** Posts one picture after the other until the connection breaks; the ids of those whose answer was read. */
async function postUntilCutOff(url: string, picture: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const accepted: string[] = [];
  for (;;) {
    const form = new FormData();
    form.append('file', new Blob([picture]), 'dog.jpg');
    try {
      const response = await fetch(`${url}/api/detect/object/image`, { method: 'POST', body: form });
      const { data } = (await response.json()) as { data: { task_id: string } };
      if (response.status !== 202) throw new Error(`answered ${response.status}`);
      accepted.push(data.task_id);
    } catch (error) {
      // Only a broken connection may end this.
      if (error instanceof TypeError || error instanceof SyntaxError) return accepted;
      throw error;
    }
  }
}

describe.skipIf(!requireShared())('a web process that is killed between upload and answer', () => {
  it(`loses nothing that it accepted and leaves nothing for ever, ${ROUNDS} times under load`, async () => {
    const fleet = await startFleet({ RESULT_TTL: String(TTL_S), UPLOAD_TTL: String(TTL_S) });
    const uploads = join(fleet.home.root, 'data/uploads');
    const temporary = join(uploads, '.tmp');
    const picture = new Uint8Array(readFileSync(DOG_PATH));
    const client = fleet.redis.client();
    let web: Service = fleet.web;
    let acceptedInAll = 0;
    try {
      await fleet.startWorker();
      for (let round = 0; round < ROUNDS; round++) {
        const posting = Promise.all(Array.from({ length: CLIENTS }, () => postUntilCutOff(web.url, picture)));
        await sleep(250 + Math.random() * 300);
        process.kill(web.pid, 'SIGKILL');
        const accepted = (await posting).flat();
        acceptedInAll += accepted.length;
        web = await fleet.startWeb();
        for (const taskId of accepted) {
          expect(await fleet.ended(taskId), `round ${round}`).toMatchObject({ state: 'SUCCESS', attempts: 1 });
        }
      }
      expect(acceptedInAll).toBeGreaterThan(ROUNDS);
      // No task without its file: such a one would have failed.
      expect(await client.zcard('{recognize}:object_detection:failed')).toBe(0);
      // What the killed processes were receiving has gone with the start of the next.
      await waitFor('what was half received to be gone', () => readdirSync(temporary).length === 0);
      // A file that nobody owns, and one that was stored but never queued, as the kill may leave them.
      const neverQueued = `${randomBytes(16).toString('hex')}.jpg`;
      writeFileSync(join(uploads, neverQueued), picture);
      const halfWritten = join(temporary, `${randomBytes(16).toString('hex')}.part`);
      writeFileSync(halfWritten, 'half');
      const longAgo = Date.now() / 1000 - 3 * 3600;
      utimesSync(halfWritten, longAgo, longAgo);
      const left = () => [...readdirSync(uploads), ...readdirSync(temporary)].filter((name) => name !== '.tmp');
      await waitFor('every file to be swept', () => left().length === 0, { timeoutMs: (TTL_S + 15) * 1000 });
      await waitFor('the index of tasks to be empty', async () => (await client.zcard(KEYS.index(null))) === 0, {
        timeoutMs: 15_000,
      });
      expectError(await call(`${web.url}/api/uploads/${neverQueued}`), 404, 'NOT_FOUND');
    } finally {
      await fleet.stop();
    }
  });
});
