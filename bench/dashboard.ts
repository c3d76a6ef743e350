import process from 'node:process';
import { parseArgs } from 'node:util';
import { usableCores } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { beat } from '../src/queue/heartbeat.ts';
import { connectPatient, disconnect } from '../src/queue/redis.ts';
import { heartbeatOf } from '../tests/support/heartbeats.ts';
import { makeManyTasks } from '../tests/support/many-tasks.ts';
import { watchMachine } from './machine.ts';
import { measureOpenPages, measurePages, WORKER } from './measure/dashboard-pages.ts';
import { measureWorkerWords } from './measure/worker-words.ts';
import { missedTargets, printReport, rounded, tell } from './report.ts';
import { startService, stopServices } from './service.ts';

/**
 * `npm run bench:dashboard`: what seeing everything costs. Times of the dashboard's pages over 100,000 finished and
 * 10,000 waiting tasks, its CPU while a page is open and while none is, and what heartbeats and history cost a worker.
 * Prints one JSON object last. `-- --quick` for a first look.
 */

async function fill(redisUrl: string, tasks: { finished: number; waiting: number }): Promise<void> {
  const redis = connectPatient({ url: redisUrl, caFile: undefined }, createLog('bench', 'silent').logger);
  try {
    await makeManyTasks(redis, tasks);
    // Its page is there for an hour after it was last heard of.
    await beat(redis, heartbeatOf({ name: WORKER, kind: 'object' }));
    while (/^aof_rewrite_(in_progress|scheduled):1/m.test(await redis.info('persistence'))) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } finally {
    await disconnect(redis);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } });
  const quick = values.quick === true;
  const [rounds, beats, openMs] = quick ? [30, 1000, 8000] : [150, 5000, 30_000];
  const tasks = { finished: 100_000, waiting: 10_000 };
  const startedAt = performance.now();
  const describeMachine = watchMachine();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopServices().finally(() => process.exit(1)));
  }
  try {
    const service = await startService({ workers: [], dashboard: true });
    const { dashboardUrl, pids, redisUrl } = service;
    if (dashboardUrl === undefined || pids.dashboard === undefined) throw new Error('there is no dashboard');
    tell('filling the queue');
    await fill(redisUrl, tasks);
    const results = {
      pages: await measurePages(dashboardUrl, rounds),
      cpu: await measureOpenPages(
        dashboardUrl,
        { dashboard: pids.dashboard, redis: pids.redis },
        usableCores(),
        openMs,
      ),
      heartbeat_and_history: await measureWorkerWords(redisUrl, pids.redis, beats),
    };
    await stopServices();
    const missed = missedTargets(results);
    tell(missed.length === 0 ? 'every target is met' : `targets missed: ${missed.join(', ')}`);
    printReport({
      bench: 'recognize dashboard',
      quick,
      machine: describeMachine(),
      tasks,
      ...results,
      targets_missed: missed,
      seconds: rounded((performance.now() - startedAt) / 1000, 0),
    });
  } finally {
    await stopServices();
  }
}

try {
  await main();
} catch (error) {
  tell(`The bench failed: ${(error as Error).stack}`);
  process.exitCode = 1;
}
