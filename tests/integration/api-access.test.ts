import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RunningWeb } from '../../src/web/run-web.ts';
import { call, ended, expectError, getTask, post, submit } from '../support/api.ts';
import { openEvents } from '../support/events.ts';
import { goodPicture } from '../support/pictures.ts';
import { openRaw } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { startAnotherWeb, startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

const LOCAL_ONLY = ['/api/tasks', '/metrics', '/metrics/scaling'];

describe.skipIf(!requireShared())('access', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  const others: RunningWeb[] = [];
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: ['face'] });
  });
  afterEach(async () => {
    await Promise.all(others.splice(0).map((other) => other.stop()));
    await web.redis.client().flushall();
  });
  afterAll(() => web?.stop());

  const stored = () => storedIn(web.folders);

  /** Another web process beside the first, which shares its Redis and folders. */
  async function another(env: Record<string, string>): Promise<string> {
    const other = await startAnotherWeb(web.folders, { ...web.env, ...env });
    others.push(other);
    return other.url;
  }

  const alice = { Authorization: 'Bearer alice-key' };
  const bob = { 'X-API-Key': 'bob-key' };
  const keys = { API_KEYS: 'alice:alice-key,bob:bob-key' };

  describe('with API_KEYS', () => {
    it.each([
      ['GET', '/api/models'],
      ['GET', '/api/tasks'],
      ['GET', '/api/task/x'],
      ['DELETE', '/api/task/x'],
      ['GET', '/api/task/x/events'],
      ['POST', '/api/detect/face/image'],
      ['POST', '/api/detect/object/image'],
      ['GET', '/api/nothing'],
    ])('%s %s needs one', async (method, path) => {
      const url = await another(keys);
      const wrong: Record<string, string>[] = [
        {},
        { Authorization: 'Bearer wrong' },
        { Authorization: 'Bearer alice' },
        { Authorization: 'Bearer' },
        { Authorization: 'Bearer alice-key bob-key' },
        { Authorization: `Basic ${Buffer.from('alice:alice-key').toString('base64')}` },
        { 'X-API-Key': 'alice:alice-key' },
        { 'X-API-Key': '' },
        { 'X-API-Key': 'ALICE-KEY' },
      ];
      for (const headers of wrong) {
        const answer = await call(`${url}${path}`, { method, headers });
        expectError(answer, 401, 'UNAUTHORIZED');
        expect(answer.headers.get('www-authenticate')).toBe('Bearer');
        expect(answer.text).not.toMatch(/alice|bob/);
      }
      expectError(await call(`${url}${path}?api_key=alice-key`, { method }), 401, 'UNAUTHORIZED');
    });

    it('both headers are taken', async () => {
      const url = await another(keys);
      for (const headers of [alice, bob, { authorization: 'bearer alice-key' }]) {
        expect((await call(`${url}/api/models`, { headers })).status).toBe(200);
      }
    });

    it.each(['/api/health', '/api/health/live', '/api/health/ready', '/api/openapi.json', '/docs'])(
      '%s is open',
      async (path) => {
        const response = await fetch(`${await another(keys)}${path}`);
        expect(response.status).toBe(200);
        await response.text();
      },
    );

    it('a refused upload leaves nothing behind', async () => {
      const url = await another(keys);
      const before = stored();
      expectError(await post(url, 'face/image', { file }), 401, 'UNAUTHORIZED');
      expect(stored()).toEqual(before);
      expect(temporaryIn(web.folders)).toEqual([]);
    });

    it('each sees its own tasks only, also by all its names', async () => {
      const url = await another({ API_KEYS: `${keys.API_KEYS},alice:second-key` });
      const id = await submit(url, 'face/image', { file, headers: alice });
      const theirs = await submit(url, 'face/image', { file, headers: bob });
      await ended(url, id, alice);
      expect((await getTask(url, id, { 'X-API-Key': 'second-key' })).state).toBe('SUCCESS');
      for (const init of [{ headers: bob }, { headers: bob, method: 'DELETE' }]) {
        expectError(await call(`${url}/api/task/${id}`, init), 404, 'TASK_NOT_FOUND');
      }
      expectError(await call(`${url}/api/task/${id}/events`, { headers: bob }), 404, 'TASK_NOT_FOUND');
      const ids = async (headers: Record<string, string>) =>
        ((await call(`${url}/api/tasks`, { headers })).body.data.tasks as { task_id: string }[]).map(
          ({ task_id }) => task_id,
        );
      expect(await ids(alice)).toEqual([id]);
      expect(await ids(bob)).toEqual([theirs]);
      const stream = await openEvents(`${url}/api/task/${id}/events`, alice);
      await stream.closed;
      expect(stream.events).toMatchObject([{ event: 'done', data: { task_id: id } }]);
    });

    it('a cancelled task stays hidden from others, too', async () => {
      const url = await another(keys);
      const id = await submit(url, 'object/image', { file, headers: alice });
      expectError(await call(`${url}/api/task/${id}`, { method: 'DELETE', headers: bob }), 404, 'TASK_NOT_FOUND');
      expect((await call(`${url}/api/task/${id}`, { method: 'DELETE', headers: alice })).status).toBe(200);
      expect((await getTask(url, id, alice)).state).toBe('REVOKED');
      expectError(await call(`${url}/api/task/${id}`, { headers: bob }), 404, 'TASK_NOT_FOUND');
    });

    it('files are open to whoever knows their name', async () => {
      const url = await another(keys);
      const id = await submit(url, 'face/image', { file, headers: alice });
      const { result } = await ended(url, id, alice);
      for (const path of [result?.original_image, result?.annotated_image]) {
        const response = await fetch(`${url}${path}`);
        expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
        await response.arrayBuffer();
      }
    });

    it("an Idempotency-Key is its owner's", async () => {
      const url = await another(keys);
      const upload = (who: Record<string, string>) => ({ file, headers: { ...who, 'Idempotency-Key': 'k' } });
      const [first, second, third] = [
        await submit(url, 'face/image', upload(alice)),
        await submit(url, 'face/image', upload(bob)),
        await submit(url, 'face/image', upload(alice)),
      ];
      expect(third).toBe(first);
      expect(second).not.toBe(first);
    });

    it('who has one may list from anywhere', async () => {
      const url = await another(keys);
      const answer = await call(`${url}/api/tasks`, { headers: { ...alice, 'X-Forwarded-For': '203.0.113.9' } });
      expect(answer.status).toBe(200);
    });
  });

  describe('for callers on this machine', () => {
    it.each(LOCAL_ONLY)('%s answers', async (path) => {
      const response = await fetch(`${web.url}${path}`);
      expect(response.status).toBe(200);
      await response.text();
    });

    it.each(
      LOCAL_ONLY.flatMap(
        (path) =>
          [
            [path, { 'X-Forwarded-For': '203.0.113.9' }],
            [path, { 'X-Forwarded-For': '127.0.0.1' }],
            [path, { Forwarded: 'for=127.0.0.1' }],
            [path, { 'X-Real-IP': '127.0.0.1' }],
            [path, { Via: '1.1 proxy' }],
          ] as [string, Record<string, string>][],
      ),
    )('%s does not answer for whom a proxy speaks: %o', async (path, headers) => {
      expectError(await call(`${web.url}${path}`, { headers }), 403, 'FORBIDDEN');
    });

    it.each(LOCAL_ONLY)('%s does not answer a page whose own name was made to point here', async (path) => {
      const raw = openRaw(web.url);
      await raw.write(`GET ${path} HTTP/1.1\r\nHost: evil.example:5000\r\n\r\n`);
      const { status, body } = await raw.answer();
      raw.destroy();
      expect([status, JSON.parse(body).error_code]).toEqual([403, 'FORBIDDEN']);
    });

    it('who comes from elsewhere is refused', async () => {
      // 127.0.0.2 stands for another machine by way of a proxy that is trusted.
      const url = await another({ TRUST_PROXY: '1' });
      for (const path of LOCAL_ONLY) {
        expectError(await call(`${url}${path}`, { headers: { 'X-Forwarded-For': '203.0.113.9' } }), 403, 'FORBIDDEN');
        // Only the last entry is the trusted proxy's own.
        const forged = { 'X-Forwarded-For': '127.0.0.1, 203.0.113.9' };
        expectError(await call(`${url}${path}`, { headers: forged }), 403, 'FORBIDDEN');
        const local = await fetch(`${url}${path}`, { headers: { 'X-Forwarded-For': '203.0.113.9, 127.0.0.1' } });
        expect(local.status).toBe(200);
        await local.text();
      }
    });

    it('posting and polling need no more than an address', async () => {
      const headers = { 'X-Forwarded-For': '203.0.113.9' };
      const id = await submit(web.url, 'face/image', { file, headers });
      expect((await ended(web.url, id, headers)).state).toBe('SUCCESS');
    });
  });

  describe('METRICS_TOKEN', () => {
    it('opens the metrics to callers from elsewhere and nothing else', async () => {
      const url = await another({ METRICS_TOKEN: 'scrape' });
      const far = { 'X-Forwarded-For': '203.0.113.9' };
      for (const path of ['/metrics', '/metrics/scaling']) {
        const allowed = await fetch(`${url}${path}`, { headers: { ...far, Authorization: 'Bearer scrape' } });
        expect(allowed.status).toBe(200);
        await allowed.text();
        for (const Authorization of ['Bearer wrong', 'Bearer', 'scrape', 'Basic scrape']) {
          expectError(await call(`${url}${path}`, { headers: { ...far, Authorization } }), 403, 'FORBIDDEN');
        }
        const local = await fetch(`${url}${path}`);
        expect(local.status).toBe(200);
        await local.text();
      }
      const list = await call(`${url}/api/tasks`, { headers: { ...far, Authorization: 'Bearer scrape' } });
      expectError(list, 403, 'FORBIDDEN');
    });
  });

  describe('API_RATE_LIMIT', () => {
    it('is counted by all web processes together', async () => {
      const limit = { API_RATE_LIMIT: '3 per hour' };
      const [one, two] = [await another(limit), await another(limit)];
      const remaining: (string | null)[] = [];
      for (const url of [one, two, one]) {
        const answer = await post(url, 'face/image', { file });
        expect(answer.status).toBe(202);
        expect(answer.headers.get('ratelimit-limit')).toBe('3');
        remaining.push(answer.headers.get('ratelimit-remaining'));
      }
      expect(remaining).toEqual(['2', '1', '0']);
      const before = stored();
      for (const url of [one, two]) {
        const answer = await post(url, 'object/image', { file });
        expectError(answer, 429, 'RATE_LIMITED');
        const seconds = Number(answer.headers.get('retry-after'));
        expect(seconds).toBeGreaterThan(3500);
        expect(seconds).toBeLessThanOrEqual(3600);
      }
      expect(stored()).toEqual(before);
      // Asking for what was accepted is no detection.
      expect((await call(`${one}/api/models`)).status).toBe(200);
      expect((await call(`${one}/api/tasks`)).status).toBe(200);
    });

    it('is over when its time is over', async () => {
      const url = await another({ API_RATE_LIMIT: '1 per second' });
      expect((await post(url, 'face/image', { file })).status).toBe(202);
      const refused = await post(url, 'face/image', { file });
      expectError(refused, 429, 'RATE_LIMITED');
      expect(refused.headers.get('retry-after')).toBe('1');
      await new Promise((resolve) => setTimeout(resolve, 1100));
      expect((await post(url, 'face/image', { file })).status).toBe(202);
    });

    it("is each key's own, and each address's where there are no keys", async () => {
      const url = await another({ API_RATE_LIMIT: '1 per hour', ...keys });
      expect((await post(url, 'face/image', { file, headers: alice })).status).toBe(202);
      expectError(await post(url, 'face/image', { file, headers: alice }), 429, 'RATE_LIMITED');
      expect((await post(url, 'face/image', { file, headers: bob })).status).toBe(202);

      const behind = await another({ API_RATE_LIMIT: '1 per hour', TRUST_PROXY: '1' });
      const from = (address: string) => ({ file, headers: { 'X-Forwarded-For': address } });
      expect((await post(behind, 'face/image', from('203.0.113.1'))).status).toBe(202);
      expectError(await post(behind, 'face/image', from('203.0.113.1')), 429, 'RATE_LIMITED');
      expect((await post(behind, 'face/image', from('203.0.113.2'))).status).toBe(202);
    });

    it('cannot be dodged by a header that nobody vouches for', async () => {
      const url = await another({ API_RATE_LIMIT: '1 per hour' });
      const from = (address: string) => ({ file, headers: { 'X-Forwarded-For': address } });
      expect((await post(url, 'face/image', from('203.0.113.1'))).status).toBe(202);
      expectError(await post(url, 'face/image', from('203.0.113.2')), 429, 'RATE_LIMITED');
    });
  });

  describe('MAX_QUEUE_LENGTH', () => {
    it('holds when many come at the same time', async () => {
      const url = await another({ MAX_QUEUE_LENGTH: '5' });
      const before = stored();
      const answers = await Promise.all(Array.from({ length: 30 }, () => post(url, 'object/image', { file })));
      const accepted = answers.filter(({ status }) => status === 202);
      for (const answer of answers) if (answer.status !== 202) expectError(answer, 503, 'QUEUE_FULL');
      expect(accepted.length).toBeGreaterThan(0);
      expect(accepted.length).toBeLessThanOrEqual(5);
      expect(stored().length).toBe(before.length + accepted.length);
      expect(temporaryIn(web.folders)).toEqual([]);
    });

    it('refuses what would wait behind too many, of that queue alone', async () => {
      const url = await another({ MAX_QUEUE_LENGTH: '2' });
      // Nobody works on objects here.
      const [first] = [await submit(url, 'object/image', { file }), await submit(url, 'object/image', { file })];
      const before = stored();
      const refused = await post(url, 'object/image', { file });
      expectError(refused, 503, 'QUEUE_FULL');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(stored()).toEqual(before);
      const id = await submit(url, 'face/image', { file });
      expect((await ended(url, id)).state).toBe('SUCCESS');
      await call(`${url}/api/task/${first}`, { method: 'DELETE' });
      expect((await post(url, 'object/image', { file })).status).toBe(202);
    });
  });
});
