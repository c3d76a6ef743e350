import { readdirSync, readFileSync } from 'node:fs';

export type ProcessEntry = { pid: number; parent: number; command: string };

function readEntry(pid: number, root: string): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    const ours = command.includes(root) || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(root);
    return ours ? { pid, parent: Number(parent), command } : undefined;
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
