import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SERVICE = /redis-server|src\/main\.ts|lane/;

/** Processes of the service or of a test's Redis that were started under `root` and are still there. */
function leftovers(root: string): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = [];
  let pids: number[] = [];
  try {
    pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  } catch {
    return found;
  }
  for (const pid of pids) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      if (!SERVICE.test(command)) continue;
      if (command.includes(root) || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(root)) {
        found.push({ pid, command });
      }
    } catch {
      // It ended in between or belongs to somebody else.
    }
  }
  return found;
}

/** One temporary folder per run; nothing may outlive the run, neither files nor processes. */
export function setup(): () => void {
  const root = mkdtempSync(join(tmpdir(), 'rt-'));
  process.env.RECOGNIZE_TEST_TMP = root;
  return () => {
    const left = leftovers(root);
    for (const { pid, command } of left) {
      console.error(`left behind by a test: ${pid} ${command}`);
      process.kill(pid, 'SIGKILL');
    }
    rmSync(root, { recursive: true, force: true });
    if (left.length > 0) throw new Error('Tests left processes behind.');
  };
}
