import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import process from 'node:process';

/** What the figures were taken on. */
export function describeMachine() {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memory_gb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    load_average_before: loadavg()[0],
  };
}
