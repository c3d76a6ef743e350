import { readFileSync } from 'node:fs';
import { serviceProcesses } from './processes.ts';
import { tempRoot } from './temp.ts';

/** The detection processes of a worker process, by default of the workers that run in this one. */
export function lanePids(worker: number = process.pid): number[] {
  return serviceProcesses(tempRoot())
    .filter(({ parent, command }) => parent === worker && /\/lanes\//.test(command))
    .map(({ pid }) => pid);
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) process.kill(pid, signal);
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
