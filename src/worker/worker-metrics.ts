import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Kind } from '../contract/kinds.ts';
import { KINDS } from '../contract/kinds.ts';
import { addDiskGauges } from '../telemetry/disk-gauges.ts';

export type WorkerView = {
  /** Undefined until the worker has one. */
  name: string | undefined;
  ready: boolean;
  slots: number;
  busy: number;
  done: number;
  failed: number;
  ffmpegSeconds: number;
};

/**
 * What one worker says of itself, for HEALTH_PORT. What tasks came to and how long they took is counted for all workers
 * together and told by web and dashboard.
 *
 * @param view asked at every scrape
 * @param folders whose disks are measured, by name
 */
export function createWorkerMetrics(
  kind: Kind,
  view: () => WorkerView,
  folders: Readonly<Record<string, string>>,
): { contentType: string; text(): Promise<string> } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'recognize_worker_' });
  addDiskGauges(registry, folders);
  const gauge = (name: string, help: string, read: (view: WorkerView) => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read(view()));
      },
    });
  gauge('recognize_worker_ready', '1 where the worker takes tasks', ({ ready }) => (ready ? 1 : 0));
  gauge('recognize_worker_slots', 'Detection slots', ({ slots }) => slots);
  gauge('recognize_worker_slots_busy', 'Detection slots at work', ({ busy }) => busy);
  const counter = (name: string, help: string, read: (view: WorkerView) => number) =>
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read(view()));
      },
    });
  counter('recognize_worker_tasks_done_total', 'Tasks that ended in SUCCESS here', ({ done }) => done);
  counter('recognize_worker_tasks_failed_total', 'Tasks that ended in FAILURE here', ({ failed }) => failed);
  counter(
    'recognize_worker_ffmpeg_seconds_total',
    'CPU seconds of ffmpeg and ffprobe',
    ({ ffmpegSeconds }) => ffmpegSeconds,
  );
  return {
    contentType: registry.contentType,
    text() {
      const { name } = view();
      registry.setDefaultLabels({ queue: KINDS[kind].queue, ...(name === undefined ? {} : { worker: name }) });
      return registry.metrics();
    },
  };
}
