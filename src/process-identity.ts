import { readFileSync } from 'node:fs';

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
