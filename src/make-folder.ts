import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

const infoOf = (path: string) => statSync(path, { throwIfNoEntry: false });
const isFolder = (path: string) => infoOf(path)?.isDirectory() === true;

/**
 * Makes a folder and those above it where they are missing. Node's own recursive `mkdir` never returns where the system
 * refuses a folder with ENOENT, as under `/proc`.
 *
 * @throws Error with the system's code where it cannot be made
 */
export function makeFolder(path: string, mode = 0o777): void {
  if (isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path && infoOf(parent) === undefined) makeFolder(parent, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Another process may have been faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(path)) throw error;
  }
}
