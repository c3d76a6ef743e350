import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import type { TaskPage, TaskRow } from '../../src/contract/admin.ts';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { type AdminAnswer, askDashboard } from '../support/dashboard-client.ts';
import { FAILED_EVERY, idOf, makeManyTasks, ZEBRA_EVERY } from '../support/many-tasks.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

const FINISHED = 100_000;
const WAITING = 10_000;

let redis: TestRedis;
let dashboard: RunningDashboard;

beforeAll(async () => {
  redis = await startRedis();
  const client = redis.client();
  await waitFor('Redis', () => client.status === 'ready');
  await makeManyTasks(client, { finished: FINISHED, waiting: WAITING });
  const config = loadConfig({ REDIS_URL: redis.url, DATA_DIR: tempDir('d'), DASHBOARD_PORT: '0' });
  dashboard = await runDashboard(config, pino({ level: 'silent' }));
  await waitFor('the dashboard', async () => (await askDashboard(dashboard.url, '/api/health/ready')).status === 200);
});

afterAll(async () => {
  await dashboard?.stop();
  await redis?.stop();
});

const search = (query: string) => askDashboard<TaskPage>(dashboard.url, `/api/admin/tasks?${query}`);

async function found(query: string): Promise<TaskPage> {
  const answer = await search(query);
  expect(answer.status, answer.text).toBe(200);
  return answer.data;
}

/** Goes on until everything was looked at or `enough` tasks are there. */
async function all(
  query: string,
  enough = Number.POSITIVE_INFINITY,
): Promise<{ tasks: TaskRow[]; searched: number; requests: number }> {
  const tasks: TaskRow[] = [];
  let [searched, requests] = [0, 0];
  let cursor: string | null = null;
  do {
    const page: TaskPage = await found(cursor === null ? query : `${query}&cursor=${cursor}`);
    tasks.push(...page.tasks);
    searched += page.searched;
    requests++;
    cursor = page.next_cursor;
  } while (cursor !== null && tasks.length < enough);
  return { tasks, searched, requests };
}

const numbers = (tasks: readonly TaskRow[]) => tasks.map(({ task_id }) => Number.parseInt(task_id.slice(0, 8), 16));

test('the newest come first, page by page, none twice', async () => {
  const { tasks } = await all('limit=100', 300);
  expect(numbers(tasks)).toEqual(Array.from({ length: 300 }, (_, index) => FINISHED + WAITING - index));
  expect(tasks[0]).toMatchObject({
    state: 'PENDING',
    worker: null,
    wait_s: null,
    run_s: null,
    queue: 'object_detection',
    priority: 5,
  });
});

test('what has ended is found behind ten thousand that wait, without looking at them', async () => {
  const good = await found('state=SUCCESS&limit=10');
  expect(good.searched).toBe(10);
  expect(good.tasks[0]).toMatchObject({
    state: 'SUCCESS',
    worker: `object_worker_${((FINISHED - 1) % 4) + 1}`,
    wait_s: 0.05,
    run_s: 0.2,
  });
  const failed = await found('state=FAILURE&limit=10');
  expect(numbers(failed.tasks)).toEqual(Array.from({ length: 10 }, (_, index) => FINISHED - index * FAILED_EVERY));
  expect(failed.searched).toBe(10);
  expect(failed.tasks[0]).toMatchObject({ error_code: 'UNREADABLE_MEDIA' });
  const byCode = await found('error_code=UNREADABLE_MEDIA&limit=10');
  expect(numbers(byCode.tasks)).toEqual(numbers(failed.tasks));
  const ofWorker = await found('worker=object_worker_3&limit=10');
  expect(ofWorker.searched).toBeLessThan(100);
  expect(ofWorker.tasks.every(({ worker }) => worker === 'object_worker_3')).toBe(true);
  expect(ofWorker.tasks).toHaveLength(10);
});

test('an id is found at once, the beginning of one by looking', async () => {
  const id = idOf(77);
  expect((await found(`id=${id}`)).tasks.map(({ task_id }) => task_id)).toEqual([id]);
  expect((await found(`id=${id.toUpperCase()}`)).tasks).toHaveLength(1);
  expect((await found(`id=${id}&queue=face_detection`)).tasks).toEqual([]);
  expect((await found(`id=${idOf(999_999_999)}`)).tasks).toEqual([]);
  const begins = idOf(FINISHED + WAITING - 5000).slice(0, 8);
  expect(numbers((await all(`id=${begins}`)).tasks)).toEqual([FINISHED + WAITING - 5000]);
});

test('one request looks at a bounded number and says how many; the search goes on to the end', async () => {
  const first = await found('error_code=TIMEOUT');
  expect(first.tasks).toEqual([]);
  expect(first.searched).toBeLessThanOrEqual(FINISHED / FAILED_EVERY);
  const slow = await found('min_run_s=5');
  expect(slow.tasks).toEqual([]);
  expect(slow.searched).toBeLessThanOrEqual(6250);
  expect(slow.next_cursor).not.toBeNull();
  const whole = await all('min_run_s=5&state=FAILURE');
  expect(whole).toMatchObject({ tasks: [], searched: FINISHED / FAILED_EVERY });
});

test('a label is looked for in results, a few hundred in a request', async () => {
  const first = await found('label=zebra');
  expect(first.searched).toBeLessThanOrEqual(840);
  const { tasks } = await all('label=ZEBRA&limit=5', 2);
  expect(numbers(tasks).slice(0, 2)).toEqual([FINISHED - ZEBRA_EVERY + 1, FINISHED - 2 * ZEBRA_EVERY + 1]);
  expect(tasks[0]?.found).toEqual({ zebra: 1 });
});

test('times bound the search from both sides', async () => {
  const created = async (number: number) => (await found(`id=${idOf(number)}`)).tasks[0]?.created_at ?? '';
  const [from, to] = [await created(50_000), await created(50_009)];
  const within = await found(`from=${from}&to=${to}`);
  expect(numbers(within.tasks)).toEqual(Array.from({ length: 10 }, (_, index) => 50_009 - index));
  expect(within.searched).toBe(10);
  expect((await found(`from=${from}&to=${to}&state=FAILURE`)).tasks.map(({ state }) => state)).toEqual(['FAILURE']);
});

test('other orders: the oldest exactly, the longest of those looked at', async () => {
  const oldest = await all('sort=oldest&limit=100', 250);
  expect(numbers(oldest.tasks).slice(0, 250)).toEqual(Array.from({ length: 250 }, (_, index) => index + 1));
  const failed = await found('sort=oldest&state=FAILURE&limit=3');
  expect(numbers(failed.tasks)).toEqual([FAILED_EVERY, 2 * FAILED_EVERY, 3 * FAILED_EVERY]);
  expect(failed.searched).toBe(3);

  const client = redis.client();
  await waitFor('Redis', () => client.status === 'ready');
  const job = (number: number) => KEYS.job('object_detection', idOf(number));
  const slow = [FINISHED - 300, FINISHED - 20, FINISHED - 150];
  for (const [index, number] of slow.entries()) {
    const [begun, done] = await client.hmget(job(number), 'processedOn', 'finishedOn');
    await client.hset(job(number), 'finishedOn', Number(done) + 60_000 * (index + 1), 'processedOn', Number(begun));
  }
  try {
    const longest = await found('sort=longest_run&limit=4');
    expect(numbers(longest.tasks).slice(0, 3)).toEqual([...slow].reverse());
    expect(longest.tasks[0]?.run_s).toBeCloseTo(180.2, 3);
    expect(longest.searched).toBeLessThanOrEqual(6250);
    expect(longest.tasks).toHaveLength(4);
    // The one that has waited longest is the oldest of those that wait.
    const waiting = await all('sort=longest_wait&state=PENDING&limit=1');
    expect(numbers(waiting.tasks)).toContain(FINISHED + 1);
    expect(waiting.searched).toBe(WAITING);
    expect((await found('min_wait_s=0.05&max_wait_s=0.05&state=SUCCESS&limit=5')).tasks).toHaveLength(5);
    expect((await found('min_wait_s=0.06&state=FAILURE')).tasks).toEqual([]);
  } finally {
    for (const number of slow) {
      const begun = Number(await client.hget(job(number), 'processedOn'));
      await client.hset(job(number), 'finishedOn', begun + 200);
    }
  }
});

test.each([
  ['from', 'from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z'],
  ['min_run_s', 'min_run_s=2&max_run_s=1'],
  ['min_wait_s', 'min_wait_s=2&max_wait_s=1.5'],
])('a range that nothing can lie in is refused, by the name of its field: %s', async (field, query) => {
  const answer = await search(query);
  expect({ status: answer.status, code: answer.code }).toEqual({ status: 400, code: 'INVALID_OPTION' });
  expect(answer.message).toMatch(new RegExp(`^Option ${field} must not be `));
});

test.each([
  'state=GONE',
  'sort=upside_down',
  'queue=other',
  'worker=../../etc/passwd',
  'id=%00',
  'id=zzzz',
  'error_code=NOPE',
  'from=yesterday',
  'to=2026-13-01T00:00:00Z',
  'min_run_s=-1',
  'min_run_s=abc',
  'limit=0',
  'limit=101',
  'limit=1e2',
  'cursor=abc',
  `cursor=${Buffer.from('{"g":9,"p":[],"k":""}').toString('base64url')}`,
  'label=',
  'state=SUCCESS&state=FAILURE',
  'unknown=1',
  '__proto__[x]=1',
])('a malformed filter is refused: %s', async (query) => {
  const answer = await search(query);
  expect({ status: answer.status, code: answer.code }).toEqual({ status: 400, code: 'INVALID_OPTION' });
  expect(answer.message).toMatch(/^Option \S+ .+\.$/s);
});

test('a cursor belongs to its search', async () => {
  const { next_cursor } = await found('state=FAILURE&limit=5');
  const other = await search(`state=SUCCESS&limit=5&cursor=${next_cursor}`);
  expect(other.status).toBe(400);
});

test('nothing walks through all keys or all members', async () => {
  const client = redis.client();
  await waitFor('Redis', () => client.status === 'ready');
  await client.config('RESETSTAT');
  await client.config('SET', 'slowlog-log-slower-than', 100_000);
  await client.slowlog('RESET');
  const paths = [
    '/overview',
    '/overview?window=24h',
    '/history',
    '/workers',
    '/tasks',
    '/tasks?label=zebra',
    '/tasks?state=FAILURE',
    '/tasks?min_run_s=9',
    '/tasks?sort=oldest',
    '/tasks?sort=longest_run',
    '/tasks?sort=longest_wait',
    `/tasks/${idOf(5)}`,
    '/audit',
  ];
  const answers: AdminAnswer[] = [];
  for (const path of paths) answers.push(await askDashboard(dashboard.url, `/api/admin${path}`));
  expect(answers.map(({ status }) => status)).toEqual(paths.map(() => 200));
  const stats = await client.info('commandstats');
  for (const command of ['keys', 'scan', 'smembers', 'zrange', 'sort'])
    expect(stats).not.toContain(`cmdstat_${command}:`);
  expect(await client.slowlog('GET', 10)).toEqual([]);
  expect(await client.zcard(KEYS.index(null))).toBe(FINISHED + WAITING);
});
