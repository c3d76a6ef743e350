import { readFileSync } from 'node:fs';

/** Linux counts process times in hundredths of a second for every program, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/**
 * CPU seconds, user and system, of all processes that this one has started and that have ended; here these are ffmpeg
 * and ffprobe. 0 where the system does not tell (other systems than Linux).
 */
export function endedChildrenCpuSeconds(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // The command in parentheses may hold anything; cutime and cstime are the 16th and 17th field of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
