import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceProcesses } from './processes.ts';

/** One temporary folder per run; nothing may outlive the run, neither files nor processes. */
export function setup(): () => void {
  const root = mkdtempSync(join(tmpdir(), 'rt-'));
  process.env.RECOGNIZE_TEST_TMP = root;
  return () => {
    const left = serviceProcesses(root);
    for (const { pid, command } of left) {
      console.error(`left behind by a test: ${pid} ${command}`);
      process.kill(pid, 'SIGKILL');
    }
    rmSync(root, { recursive: true, force: true });
    if (left.length > 0) throw new Error('Tests left processes behind.');
  };
}
