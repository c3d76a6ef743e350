import { hostname, loadavg } from 'node:os';
import process from 'node:process';
import { createLog } from '../../src/log.ts';
import { beat, HEARTBEAT_MS, signOff } from '../../src/queue/heartbeat.ts';
import { noteDepth } from '../../src/queue/history.ts';
import { connected, connectPatient, disconnect } from '../../src/queue/redis.ts';
import { recordStatistics } from '../../src/queue/statistics.ts';
import { takeWorkerLease } from '../../src/queue/worker-lease.ts';
import { cpuMs } from '../process-figures.ts';
import { atMost, rounded, tell } from '../report.ts';

const MOST_MS_PER_SECOND = 1;
const WARM_UP = 200;
const QUEUE = 'object_detection';
const STAGES = ['wait', 'run', 'decode', 'inference', 'postprocess'] as const;

/**
 * CPU time that a worker spends on what it tells of itself every two seconds: its number, its heartbeat, the counters
 * and histograms of the tasks that have ended since, the history. Many rounds without a pause, by the code that workers
 * run; reckoned for a second.
 *
 * @param tasksPerSecond that have ended
 */
async function msPerSecond(redisUrl: string, redisPid: number, rounds: number, tasksPerSecond: number) {
  const redis = connectPatient({ url: redisUrl, caFile: undefined }, createLog('bench', 'silent').logger);
  await connected(redis, 5000);
  const lease = await takeWorkerLease(redis, 'object');
  const statistics = recordStatistics(redis, QUEUE);
  const startedAt = Date.now();
  let depthMinute = 0;

  async function round(): Promise<void> {
    const heartbeat = {
      id: lease.id,
      name: lease.name,
      kind: 'object' as const,
      host: hostname(),
      pid: process.pid,
      state: 'ready' as const,
      concurrency: 2,
      current: [{ task_id: lease.id, started_at: startedAt, media: 'image' as const }],
      done: 1,
      failed: 0,
      retried: 0,
      load: loadavg()[0] ?? 0,
      cpu_percent: 1,
      rss: process.memoryUsage.rss(),
      lanes: [{ pid: process.pid, rss: 1 }],
      model: 'yolox_nano',
      models: [{ name: 'yolox_nano', provider: 'cpu' as const }],
      started_at: startedAt,
      beat_at: Date.now(),
    };
    await Promise.all([lease.renew(), beat(redis, heartbeat), statistics.flush()]);
    depthMinute = await noteDepth(redis, QUEUE, depthMinute);
  }

  function endTasks(): void {
    for (let task = 0; task < (tasksPerSecond * HEARTBEAT_MS) / 1000; task++) {
      statistics.count('succeeded');
      for (const stage of STAGES) statistics.observe(stage, { media: 'image', model: 'yolox_nano' }, task / 100);
    }
  }

  let before = process.cpuUsage();
  let redisBefore = cpuMs(redisPid);
  for (let number = -WARM_UP; number < rounds; number++) {
    if (number === 0) {
      before = process.cpuUsage();
      redisBefore = cpuMs(redisPid);
    }
    endTasks();
    await round();
  }
  const { user, system } = process.cpuUsage(before);
  const redisMs = cpuMs(redisPid) - redisBefore;
  await lease.release();
  await signOff(redis, lease.name);
  await disconnect(redis);
  const perSecond = (ms: number) => ms / rounds / (HEARTBEAT_MS / 1000);
  return { worker: perSecond((user + system) / 1000), redis: perSecond(redisMs) };
}

export async function measureWorkerWords(redisUrl: string, redisPid: number, rounds: number) {
  const entries = [];
  for (const tasksPerSecond of [0, 50]) {
    const { worker, redis } = await msPerSecond(redisUrl, redisPid, rounds, tasksPerSecond);
    tell(`heartbeat and history at ${tasksPerSecond} tasks a second: ${worker.toFixed(3)} ms of CPU per second`);
    const figures = {
      worker_ms_per_second: atMost(worker, MOST_MS_PER_SECOND, 3),
      redis_ms_per_second: rounded(redis, 3),
    };
    entries.push([`at_${tasksPerSecond}_tasks_per_second`, figures] as const);
  }
  return Object.fromEntries(entries);
}
