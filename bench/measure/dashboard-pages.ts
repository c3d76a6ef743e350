import { setTimeout as sleep } from 'node:timers/promises';
import { idOf } from '../../tests/support/many-tasks.ts';
import { type Connection, openConnection } from '../load/connection.ts';
import { prepareGet } from '../load/requests.ts';
import { cpuMs } from '../process-figures.ts';
import { atMost, median, percentile, rounded, tell } from '../report.ts';

const MOST_P95_MS = 150;
const MOST_CPU_PERCENT = 2;
/** Of a dashboard that nobody looks at: the clocks of Node and of its connection to Redis. */
const MOST_CPU_CLOSED_PERCENT = 0.1;
const WARM_UP = 10;

/** Of the tasks that the bench makes. */
export const WORKER = 'object_worker_3';

const PAGES = ['/overview', '/workers', '/tasks', '/failed', '/audit'];

/** What the pages ask for: how they look at first, and the dearest that somebody can search for. */
const CALLS = [
  '/overview?window=5m',
  '/overview?window=24h',
  '/history',
  '/workers',
  '/tasks?limit=25',
  '/tasks?limit=50&state=FAILURE',
  '/tasks?limit=25&state=PENDING',
  '/tasks?limit=25&state=SUCCESS&sort=oldest',
  `/tasks?limit=25&worker=${WORKER}`,
  '/tasks?limit=25&label=zebra',
  '/tasks?limit=25&min_run_s=9',
  '/tasks?limit=25&sort=longest_run',
  '/tasks?limit=25&sort=longest_wait',
  `/tasks/${idOf(77)}`,
  '/audit',
];

const BOARD = '/api/queues?activeQueue=object_detection&status=latest&page=1&jobsPerPage=10';

async function timesOf(connection: Connection, path: string, rounds: number): Promise<number[]> {
  const request = prepareGet(path);
  const times: number[] = [];
  for (let round = -WARM_UP; round < rounds; round++) {
    const start = performance.now();
    const { status } = await connection.send(request);
    if (status !== 200) throw new Error(`${path} is answered with ${status}`);
    if (round >= 0) times.push(performance.now() - start);
  }
  return times;
}

/** Times of the dashboard's pages and of what they ask for, one request after the other. */
export async function measurePages(url: string, rounds: number) {
  const connection = await openConnection(url);
  const paths = [...PAGES, ...CALLS.map((path) => `/api/admin${path}`), BOARD];
  const entries = [];
  for (const path of paths) {
    const times = await timesOf(connection, path, rounds);
    const p95 = atMost(percentile(times, 0.95), MOST_P95_MS, 1);
    tell(`${path}: p95 ${p95.value} ms`);
    entries.push([path, { median_ms: rounded(median(times), 1), p95_ms: p95 }] as const);
  }
  connection.close();
  return Object.fromEntries(entries);
}

/** What an open page asks for, and how often; once where that is not said. */
type Poll = { path: string; everyMs?: number };

/** Searches on as a page does that finds little: from page to page, a few in one go. */
const PAGES_AT_ONCE = 8;

const OPEN_PAGES: Record<string, Poll[]> = {
  overview: [
    { path: '/overview?window=1h', everyMs: 2000 },
    { path: '/history', everyMs: 30_000 },
  ],
  workers: [{ path: '/workers', everyMs: 2000 }],
  worker: [
    { path: '/workers', everyMs: 2000 },
    { path: `/workers/${WORKER}/log?lines=60`, everyMs: 4000 },
    { path: `/workers/${WORKER}`, everyMs: 15_000 },
  ],
  tasks: [{ path: '/tasks?limit=25', everyMs: 4000 }],
  // Looks at many tasks and finds none: it is not repeated by itself.
  sparse_search: [{ path: '/tasks?limit=25&min_run_s=9' }],
  failed: [{ path: '/tasks?limit=50&state=FAILURE', everyMs: 4000 }],
};

const READING_MS = 30_000;
const isOnce = (polls: readonly Poll[]) => polls.every(({ everyMs }) => everyMs === undefined);

async function ask(connection: Connection, path: string): Promise<string> {
  const { status, body } = await connection.send(prepareGet(`/api/admin${path}`));
  if (status !== 200) throw new Error(`${path} is answered with ${status}`);
  return body;
}

async function askOn(connection: Connection, path: string): Promise<void> {
  let cursor: string | null = null;
  for (let page = 0; page < PAGES_AT_ONCE; page++) {
    const body: string = await ask(connection, cursor === null ? path : `${path}&cursor=${cursor}`);
    ({ next_cursor: cursor } = (JSON.parse(body) as { data: { next_cursor: string | null } }).data);
    if (cursor === null) return;
  }
}

/** Asks as an open page does, for so long. */
async function lookAt(url: string, polls: readonly Poll[], ms: number): Promise<void> {
  const connection = await openConnection(url);
  const until = performance.now() + ms;
  const due = new Map(polls.map((poll) => [poll, performance.now()]));
  while (performance.now() < until) {
    for (const [poll, at] of due) {
      if (performance.now() < at) continue;
      if (poll.everyMs === undefined) await askOn(connection, poll.path);
      else await ask(connection, poll.path);
      due.set(poll, performance.now() + (poll.everyMs ?? Number.POSITIVE_INFINITY));
    }
    await sleep(200);
  }
  connection.close();
}

/** CPU of dashboard and Redis, in percent of all cores, while nobody looks and while a page is open. */
export async function measureOpenPages(
  url: string,
  pids: { dashboard: number; redis: number },
  cores: number,
  ms: number,
) {
  async function percentWhile(work: () => Promise<unknown>): Promise<{ dashboard: number; redis: number }> {
    const [dashboard, redis, start] = [cpuMs(pids.dashboard), cpuMs(pids.redis), performance.now()];
    await work();
    const share = 100 / (performance.now() - start) / cores;
    return { dashboard: (cpuMs(pids.dashboard) - dashboard) * share, redis: (cpuMs(pids.redis) - redis) * share };
  }
  // What the requests before have left to be tidied up is not what a closed page costs.
  await sleep(3000);
  const closed = await percentWhile(() => sleep(ms));
  const open: [string, { dashboard: number; redis: number }][] = [];
  // What is asked for once is looked at for as long as somebody would read it, also in a quick run.
  for (const [page, polls] of Object.entries(OPEN_PAGES))
    open.push([page, await percentWhile(() => lookAt(url, polls, isOnce(polls) ? Math.max(ms, READING_MS) : ms))]);
  // Redis also runs its own clock, and web asks it for something now and then.
  const added = open.map(([page, { dashboard, redis }]) => {
    const percent = dashboard + Math.max(0, redis - closed.redis);
    tell(`${page} open: ${percent.toFixed(2)} % of the machine`);
    return [page, atMost(percent, MOST_CPU_PERCENT)] as const;
  });
  tell(`closed: ${closed.dashboard.toFixed(2)} % of the machine`);
  return {
    closed_percent: atMost(closed.dashboard, MOST_CPU_CLOSED_PERCENT, 3),
    open_percent: Object.fromEntries(added),
  };
}
