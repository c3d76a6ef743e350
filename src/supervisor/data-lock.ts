import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';
import { identifyProcess, stillRuns } from '../process-identity.ts';

const ATTEMPTS = 20;
const PAUSE_MS = 25;

type Owner = { pid: number; started: string };

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function parseOwner(text: string): Owner | undefined {
  const [pid, started] = text.trim().split(' ');
  return pid !== undefined && /^[1-9]\d*$/.test(pid) ? { pid: Number(pid), started: started ?? '' } : undefined;
}

/** Moves a stale lock away; puts it back if another start has replaced it in between. */
async function removeStale(path: string, judged: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    const moved = await readFile(aside, 'utf8');
    if (moved !== judged) await writeFile(path, moved, { flag: 'wx' });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/**
 * Makes the data folder and marks it as used by this process. The mark of a process that is gone is taken over.
 *
 * @throws StartError when a running process has it, or when the folder cannot be written
 */
export async function lockDataFolder(folder: string): Promise<{ release(): Promise<void> }> {
  const path = join(folder, 'supervisor.lock');
  const own = `${process.pid} ${identifyProcess(process.pid) ?? ''}\n`;
  try {
    makeFolder(folder);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const written = await writeFile(path, own, { flag: 'wx', mode: 0o600 }).then(
        () => true,
        (error) => {
          if (codeOf(error) === 'EEXIST') return false;
          throw error;
        },
      );
      if (written) {
        return {
          async release() {
            const text = await readFile(path, 'utf8').catch(() => '');
            if (text === own) await rm(path, { force: true });
          },
        };
      }
      const text = await readFile(path, 'utf8').catch(() => '');
      const owner = parseOwner(text);
      if (owner !== undefined && stillRuns(owner.pid, owner.started)) {
        throw new StartError(
          `Recognize already runs on this data folder (process ${owner.pid}). Stop it, or set DATA_DIR to another folder.`,
        );
      }
      // A lock without content may be one that is just being written: only the last attempts remove it.
      if (owner !== undefined || attempt > ATTEMPTS - 5) await removeStale(path, text);
      else await sleep(PAUSE_MS);
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(
      `The data folder ${folder} cannot be written (${codeOf(error) ?? error}). Set DATA_DIR to another one.`,
    );
  }
  throw new StartError("Several starts on this data folder got in each other's way. Try again.");
}
