import { readdirSync, readFileSync } from 'node:fs';
import { waitFor } from './wait-for.ts';

export type ProcessEntry = { pid: number; parent: number; command: string };

/** The kernel's PF_FORKNOEXEC: a copy of its parent that has not begun a program of its own. */
const NOT_BEGUN = 0x40;

/** Undefined for a process that is dead and not yet cleared away. @throws Error where there is none */
function readStat(pid: number): { parent: number; begun: boolean } | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [state = '', parent, , , , , flags] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return /[ZX]/.test(state) ? undefined : { parent: Number(parent), begun: (Number(flags) & NOT_BEGUN) === 0 };
}

/** Whether no such process runs; one that is dead and not yet cleared away by its parent does not. */
export function isGone(pid: number): boolean {
  try {
    return readStat(pid) === undefined;
  } catch {
    return true;
  }
}

export const untilGone = (pid: number) => waitFor(`the end of process ${pid}`, () => isGone(pid));

function readEntry(pid: number, root: string): ProcessEntry | undefined {
  try {
    const stat = readStat(pid);
    if (stat === undefined || !stat.begun) return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    const ours = command.includes(root) || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(root);
    return ours ? { pid, parent: stat.parent, command } : undefined;
  } catch {
    // It ended in between or belongs to somebody else.
    return undefined;
  }
}

/** The processes of the service, and Redis servers, that were started with this folder in their command or environment. */
export function serviceProcesses(root: string): ProcessEntry[] {
  const found: ProcessEntry[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const entry = Number.isInteger(pid) ? readEntry(pid, root) : undefined;
    if (entry !== undefined && /redis-server|s3rver|src\/main\.ts|lanes?\b/.test(entry.command)) found.push(entry);
  }
  return found;
}
