import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseName } from '../storage/names.ts';
import type { FileSource } from './task-files.ts';

/** Files of tasks in a folder that this process may or may not share with the workers. */
export function filesOfFolder(folder: string): FileSource {
  const pathOf = (name: string) => {
    if (parseName(name) === undefined) throw new Error('not the name of a stored file');
    return join(folder, name);
  };
  return {
    async open(name) {
      const path = pathOf(name);
      const info = await stat(path).catch(() => undefined);
      if (info === undefined) return undefined;
      return { bytes: info.size, read: (from, to) => createReadStream(path, { start: from, end: to - 1 }) };
    },
    remove: (name) => rm(pathOf(name), { force: true }),
  };
}
