import process from 'node:process';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { canStart } from '../can-start.ts';

const COMMAND = 'setpriv';
const ARGS = ['--pdeathsig', 'KILL', '--'];
/** Under this name a thread learns what its parent has found out. */
const FOUND = 'recognize.leash';

async function findLeash(): Promise<readonly string[]> {
  const found = getEnvironmentData(FOUND);
  if (Array.isArray(found)) return found as string[];
  // BusyBox has a setpriv that knows no parent-death signals.
  const works = process.platform === 'linux' && (await canStart(COMMAND, [...ARGS, 'true']));
  const leash = works ? [COMMAND, ...ARGS] : [];
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
