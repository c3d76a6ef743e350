import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import process from 'node:process';
import { cpuMs, endedChildrenCpuMs, tickRate } from './process-figures.ts';
import { rounded } from './report.ts';

/** CPU time of the whole machine in ms: spent on any process, and wanted but given to another virtual machine. */
function machineCpuMs(): { busy: number; stolen: number } {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = fields;
  const ms = 1000 / tickRate();
  return { busy: (user + nice + system + irq + softIrq) * ms, stolen: steal * ms };
}

/** What this process and all that it has started and seen ending have used, in ms. */
const ownCpuMs = () => cpuMs(process.pid) + endedChildrenCpuMs(process.pid);

/**
 * Watches how much else goes on: figures of a machine that is shared are worth less.
 *
 * @returns what the figures were taken on; to be asked when every child has ended
 */
export function watchMachine() {
  const startedAt = performance.now();
  const before = { ...machineCpuMs(), own: ownCpuMs() };
  return () => {
    const elapsed = performance.now() - startedAt;
    const { busy, stolen } = machineCpuMs();
    const others = busy - before.busy - (ownCpuMs() - before.own);
    return {
      cores: availableParallelism(),
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      memory_gb: Math.round(totalmem() / 2 ** 30),
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cores_taken_by_others: rounded(Math.max(0, others / elapsed)),
      cores_stolen: rounded((stolen - before.stolen) / elapsed),
    };
  };
}
