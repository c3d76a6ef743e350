import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * What tells a running process from a later one that got the same number.
 *
 * @returns undefined when no such process runs (a zombie does not); its start time where the system shows it, else ''
 */
export function identifyProcess(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
  // The command in parentheses may hold anything; the state follows it, the start time is the 22nd field of all.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : (fields[19] ?? '');
}

/**
 * Whether a process that was noted down still runs; its number may have gone to another process since.
 *
 * @param started what {@link identifyProcess} said of it then
 */
export function stillRuns(pid: number, started: string): boolean {
  const identity = identifyProcess(pid);
  return identity !== undefined && (identity === started || identity === '' || started === '');
}

function readOr(read: () => string, fallback: string): string {
  try {
    return read().trim();
  } catch {
    return fallback;
  }
}

/** Names the space in which a process number means one process: a machine since its start, or one container in it. */
export function identifyMachine(): string {
  const boot = readOr(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'), '');
  const processes = readOr(() => readlinkSync('/proc/self/ns/pid'), '');
  return [hostname(), boot, processes].join(' ');
}
