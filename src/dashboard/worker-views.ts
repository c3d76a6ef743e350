import type { WorkerView } from '../contract/admin.ts';
import { KINDS } from '../contract/kinds.ts';
import { type Heartbeat, isLost } from '../queue/heartbeat.ts';

const iso = (ms: number) => new Date(ms).toISOString();
const seconds = (ms: number) => Math.max(0, Math.round(ms / 100) / 10);

function stateOf(heartbeat: Heartbeat): WorkerView['state'] {
  if (isLost(heartbeat)) return 'lost';
  if (heartbeat.state !== 'ready') return heartbeat.state;
  return heartbeat.current.length > 0 ? 'busy' : 'idle';
}

/** A worker as operators see it. */
export function viewWorker(heartbeat: Heartbeat): WorkerView {
  const { name, kind, host, pid, concurrency, done, failed, retried, load, cpu_percent, lanes, models } = heartbeat;
  const state = stateOf(heartbeat);
  return {
    name,
    kind,
    queue: KINDS[kind].queue,
    host,
    pid,
    state,
    reason: heartbeat.reason ?? null,
    concurrency,
    current: heartbeat.current.map(({ task_id, media, started_at, percent }) => ({
      task_id,
      media: media ?? null,
      started_at: iso(started_at),
      percent: percent ?? null,
    })),
    done,
    failed,
    retried,
    load: Math.round(load * 100) / 100,
    cpu_percent: Math.round(cpu_percent),
    rss_bytes: lanes.reduce((sum, lane) => sum + lane.rss, heartbeat.rss),
    lanes: lanes.map((lane) => ({ pid: lane.pid, rss_bytes: lane.rss })),
    models,
    started_at: iso(heartbeat.started_at),
    last_heartbeat: iso(heartbeat.beat_at),
    uptime_s: seconds((state === 'lost' ? heartbeat.beat_at : Date.now()) - heartbeat.started_at),
    silent_s: seconds(Date.now() - heartbeat.beat_at),
  };
}
