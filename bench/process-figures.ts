import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

let ticksPerSecond: number | undefined;

/** Clock ticks in which the kernel counts a process' CPU time. */
export function tickRate(): number {
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return ticksPerSecond;
}

/** Fields of `/proc/<pid>/stat` from the third on; the command before them may hold anything. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** CPU time that a process has used so far, user and system, all threads, in ms. Linux only. */
export function cpuMs(pid: number): number {
  const fields = statFields(pid);
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / tickRate();
}

/** CPU time of the children of a process that have ended, in ms. */
export function endedChildrenCpuMs(pid: number): number {
  const fields = statFields(pid);
  return ((Number(fields[13]) + Number(fields[14])) * 1000) / tickRate();
}

/** Resident memory in MiB. */
export function rssMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes ?? 0) / 1024;
}

/** Direct children of a process whose command line contains `word`. */
export function childrenOf(pid: number, word: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((candidate) => {
      if (!Number.isInteger(candidate)) return false;
      try {
        const isChild = Number(statFields(candidate)[1]) === pid;
        return isChild && readFileSync(`/proc/${candidate}/cmdline`, 'utf8').includes(word);
      } catch {
        return false;
      }
    });
}
