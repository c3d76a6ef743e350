import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Runs Prometheus' own checker, from Debian's package `prometheus`; answers what it said. */
export async function promtool(...args: string[]): Promise<string> {
  const run = promisify(execFile);
  try {
    const { stdout, stderr } = await run('promtool', args);
    return stdout + stderr;
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT') throw new Error('promtool is missing. Install it: sudo apt-get install prometheus');
    throw new Error(`promtool ${args.join(' ')}: ${stdout}${stderr}`);
  }
}
