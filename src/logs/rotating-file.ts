import { chmodSync, closeSync, openSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pino } from 'pino';
import { makeFolder } from '../make-folder.ts';

export type Rotation = {
  /** A file that has grown to so many bytes is put aside. */
  rotateBytes: number;
  /** How many files that were put aside are kept, */
  keepFiles: number;
  /** and for how many days at most. */
  keepDays: number;
};

const DAY_MS = 86_400_000;

/** Readable for the group, for those who collect logs; what people upload is none of others' business. */
const MODE = 0o640;

/** Lines that a disk does not take are held up to so many bytes, then dropped. */
const HELD_BYTES = 4 * 2 ** 20;

const dayOf = (ms: number) => Math.floor(ms / DAY_MS);

/** Files put aside, `<name>.log.1` the newest, with their numbers. */
function setAside(path: string): { number: number; path: string }[] {
  const folder = dirname(path);
  const prefix = `${basename(path)}.`;
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d*$/.test(name.slice(prefix.length)))
    .map((name) => ({ number: Number(name.slice(prefix.length)), path: join(folder, name) }))
    .sort((a, b) => b.number - a.number);
}

/** Moves `<name>.log` to `<name>.log.1`, that to `.2` and so on, and removes what is not to be kept. */
function shift(path: string, { keepFiles, keepDays }: Rotation, now: number): void {
  for (const file of setAside(path)) {
    const isOld = now - statSync(file.path).mtimeMs > keepDays * DAY_MS;
    if (file.number >= keepFiles || isOld) rmSync(file.path, { force: true });
    else renameSync(file.path, `${path}.${file.number + 1}`);
  }
  if (keepFiles > 0) renameSync(path, `${path}.1`);
  else rmSync(path, { force: true });
}

/** Makes sure that the file is there and can be written. */
function ensure(path: string): void {
  makeFolder(dirname(path));
  closeSync(openSync(path, 'a', MODE));
  try {
    chmodSync(path, MODE);
  } catch {
    // somebody else's file that we may write to
  }
}

export type RotatingFile = { write(line: string): void; flushSync(): void };

/**
 * A log file that is put aside when it has grown too large, and at the first line of a new day (UTC). Lines are written
 * in the background; what is left is written when the process ends.
 *
 * @param onProblem is told once when lines cannot be written or the file cannot be put aside
 * @throws the system's error when the file cannot be opened
 */
export function openRotatingFile(path: string, rotation: Rotation, onProblem: (error: unknown) => void): RotatingFile {
  let told = false;
  const tell = (error: unknown) => {
    if (!told) onProblem(error);
    told = true;
  };

  ensure(path);
  const found = statSync(path);
  let size = found.size;
  let day = dayOf(Date.now());
  if (size > 0 && (size >= rotation.rotateBytes || day !== dayOf(found.mtimeMs))) {
    shift(path, rotation, Date.now());
    size = 0;
  }
  const file = pino.destination({ dest: path, sync: false, mode: MODE, maxLength: HELD_BYTES });
  let opening = true;
  file.on('ready', () => {
    opening = false;
  });
  file.on('error', (error) => {
    opening = false;
    tell(error);
  });

  function rotate(now: number): void {
    day = dayOf(now);
    size = 0;
    try {
      shift(path, rotation, now);
      // What is being written still goes to the file that was put aside.
      opening = true;
      file.reopen(path);
    } catch (error) {
      tell(error);
    }
  }

  return {
    write(line) {
      const now = Date.now();
      const isDue = size > 0 && (size >= rotation.rotateBytes || day !== dayOf(now));
      if (isDue && !opening) rotate(now);
      size += Buffer.byteLength(line);
      file.write(line);
    },
    flushSync: () => file.flushSync(),
  };
}
