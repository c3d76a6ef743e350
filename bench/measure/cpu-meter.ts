import type { Kind } from '../../src/contract/kinds.ts';
import { cpuMs, endedChildrenCpuMs } from '../process-figures.ts';
import { rounded } from '../report.ts';
import type { Service } from '../service.ts';

/** CPU time in ms, by part of the service. */
export type CpuUse = { web: number; worker: number; redis: number; detection: number };

/** What each part has used since it started; detection with the processes that have been replaced since. */
export function readCpu(service: Service, kind: Kind): CpuUse {
  const worker = service.pids.workers[kind];
  if (worker === undefined) throw new Error(`there is no worker for ${kind}`);
  return {
    web: cpuMs(service.pids.web),
    worker: cpuMs(worker),
    redis: cpuMs(service.pids.redis),
    detection: endedChildrenCpuMs(worker) + service.lanes(kind).reduce((sum, pid) => sum + cpuMs(pid), 0),
  };
}

const each = (value: (part: keyof CpuUse) => number): CpuUse => ({
  web: value('web'),
  worker: value('worker'),
  redis: value('redis'),
  detection: value('detection'),
});

export const cpuBetween = (before: CpuUse, after: CpuUse) => each((part) => after[part] - before[part]);
export const cpuSum = (uses: readonly CpuUse[]) =>
  uses.reduce((sum, use) => each((part) => sum[part] + use[part]), { web: 0, worker: 0, redis: 0, detection: 0 });
export const cpuPerTask = (use: CpuUse, tasks: number) => each((part) => rounded(use[part] / tasks));
