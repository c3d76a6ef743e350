import { spawn } from 'node:child_process';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

const SETPRIV = ['setpriv', '--pdeathsig', 'KILL', '--'];
/** Under this name a thread learns what its parent has found out. */
const FOUND = 'recognize.leash';

/** Whether setpriv is there and knows parent-death signals; BusyBox's does not. */
function canLeash(): Promise<boolean> {
  if (process.platform !== 'linux') return Promise.resolve(false);
  return new Promise((resolve) => {
    const trial = spawn('setpriv', [...SETPRIV.slice(1), 'true'], { stdio: 'ignore' });
    trial.once('error', () => resolve(false));
    trial.once('close', (code) => resolve(code === 0));
  });
}

async function findLeash(): Promise<readonly string[]> {
  const found = getEnvironmentData(FOUND);
  if (Array.isArray(found)) return found as string[];
  const leash = (await canLeash()) ? SETPRIV : [];
  setEnvironmentData(FOUND, leash);
  return leash;
}

/**
 * What goes before a command line so that the kernel kills the program once the thread that started it is gone, also
 * after a kill -9 that lets nobody clean up. Empty where the system cannot do that.
 */
export const LEASH: readonly string[] = await findLeash();

/** Exit code by which setpriv tells that there is no such program. */
export const LEASH_NOT_FOUND = 127;
