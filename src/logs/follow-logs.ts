import { type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LogEntry, parseEntry } from './log-entry.ts';
import { findLogs } from './log-files.ts';

const LOOK_EVERY_MS = 300;
const CHUNK_BYTES = 64 * 1024;

/** Reads on in one file, from line to line. */
type Tail = { file: FileHandle; inode: number; at: number; rest: Buffer };

async function readOn(tail: Tail): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const { buffer, bytesRead } = await tail.file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, tail.at);
    if (bytesRead === 0) return lines;
    tail.at += bytesRead;
    const bytes = Buffer.concat([tail.rest, buffer.subarray(0, bytesRead)]);
    const end = bytes.lastIndexOf(0x0a) + 1;
    if (end > 0)
      lines.push(
        ...bytes
          .subarray(0, end - 1)
          .toString('utf8')
          .split('\n'),
      );
    tail.rest = bytes.subarray(end);
  }
}

/**
 * Entries as workers write them, from now on, of workers that start later as well; a file that is put aside is read to its
 * end first. By looking again and again: not every file system tells of changes.
 *
 * @param worker only this one
 * @param signal ends it
 */
export async function* followLogs(
  folder: string,
  worker: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogEntry> {
  const tails = new Map<string, Tail>();
  let first = true;

  async function openTail(path: string, fromEnd: boolean): Promise<Tail | undefined> {
    const file = await open(path).catch(() => undefined);
    if (file === undefined) return undefined;
    const { ino, size } = await file.stat();
    return { file, inode: ino, at: fromEnd ? size : 0, rest: Buffer.alloc(0) };
  }

  async function linesOf(owner: string, path: string): Promise<string[]> {
    let tail = tails.get(owner) ?? (await openTail(path, first));
    if (tail === undefined) return [];
    tails.set(owner, tail);
    const lines = await readOn(tail);
    const now = await stat(path).catch(() => undefined);
    if (now === undefined || now.ino === tail.inode) return lines;
    // Written between the last read and the moment in which the file was put aside.
    lines.push(...(await readOn(tail)));
    await tail.file.close();
    tails.delete(owner);
    tail = await openTail(path, false);
    if (tail === undefined) return lines;
    tails.set(owner, tail);
    return [...lines, ...(await readOn(tail))];
  }

  try {
    while (!signal.aborted) {
      const found = await findLogs(folder, worker).catch(() => []);
      const entries: LogEntry[] = [];
      for (const { worker: owner, paths } of found) {
        const path = paths.at(-1);
        if (path === undefined || !path.endsWith('.log')) continue;
        for (const line of await linesOf(owner, path)) {
          const entry = parseEntry(line, owner, Date.now());
          if (entry !== undefined) entries.push(entry);
        }
      }
      first = false;
      yield* entries.sort((a, b) => a.time - b.time);
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await Promise.all([...tails.values()].map(({ file }) => file.close()));
  }
}
