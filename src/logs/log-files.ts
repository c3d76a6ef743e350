import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type LogEntry, parseEntry } from './log-entry.ts';

/** The files of one worker, the oldest first. */
export type WorkerLogs = { worker: string; paths: string[] };

const LOG_FILE = /^([a-z]+_worker_[1-9]\d*)\.log(?:\.([1-9]\d*))?$/;

/** True for the name of a worker's log, also of one that was put aside. */
export const isWorkerLog = (name: string) => LOG_FILE.test(name);

/**
 * The log files of a folder by worker, those put aside included.
 *
 * @param worker only this one, e.g. `face_worker_1`
 */
export async function findLogs(folder: string, worker?: string): Promise<WorkerLogs[]> {
  const found = new Map<string, { age: number; path: string }[]>();
  for (const name of await readdir(folder)) {
    const [, owner = '', age = '0'] = LOG_FILE.exec(name) ?? [];
    if (owner === '' || (worker !== undefined && owner !== worker)) continue;
    found.set(owner, [...(found.get(owner) ?? []), { age: Number(age), path: join(folder, name) }]);
  }
  return [...found]
    .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([owner, files]) => ({
      worker: owner,
      paths: files.sort((a, b) => b.age - a.age).map(({ path }) => path),
    }));
}

async function* entriesOf({ worker, paths }: WorkerLogs): AsyncGenerator<LogEntry> {
  let time = 0;
  for (const path of paths) {
    const input = createReadStream(path);
    // One that has been put aside or removed since is no reason to stop.
    input.on('error', () => undefined);
    try {
      for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
        const entry = parseEntry(line, worker, time);
        if (entry === undefined) continue;
        time = entry.time;
        yield entry;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** All entries of several workers in the order of their times, one file of each open at a time. */
export async function* readLogs(logs: readonly WorkerLogs[]): AsyncGenerator<LogEntry> {
  const heads: { entry: LogEntry; rest: AsyncGenerator<LogEntry> }[] = [];
  const advance = async (rest: AsyncGenerator<LogEntry>) => {
    const next = await rest.next();
    if (!next.done) heads.push({ entry: next.value, rest });
  };
  for (const worker of logs) await advance(entriesOf(worker));
  while (heads.length > 0) {
    const first = heads.reduce((best, head) => (head.entry.time < best.entry.time ? head : best));
    heads.splice(heads.indexOf(first), 1);
    yield first.entry;
    await advance(first.rest);
  }
}
