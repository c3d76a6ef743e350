import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogTail } from '../contract/admin.ts';
import { WORKER_NAME } from '../contract/admin-requests.ts';
import type { Role } from './accounts.ts';

/** No more than the end of a file is read. */
const TAIL_BYTES = 256 * 1024;

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

function readLine(line: string, role: Role): LogTail['lines'][number] {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return {
      time: null,
      level: 'info',
      message: role === 'admin' ? line : '(not a line of the log)',
      task_id: null,
      more: null,
    };
  }
  const { time, level, msg, taskId, name: _name, pid: _pid, worker: _worker, queue: _queue, ...more } = entry;
  const isMore = role === 'admin' && Object.keys(more).length > 0;
  return {
    time: text(time),
    level: text(level) ?? 'info',
    message: text(msg) ?? '',
    task_id: text(taskId),
    more: isMore ? JSON.stringify(more) : null,
  };
}

async function lastText(file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  const from = Math.max(0, size - TAIL_BYTES);
  const buffer = Buffer.alloc(size - from);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
  const read = buffer.toString('utf8', 0, bytesRead);
  return from === 0 ? read : read.slice(read.indexOf('\n') + 1);
}

async function linesOf(path: string): Promise<string[] | undefined> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    return (await lastText(file)).split('\n').filter((line) => line !== '');
  } finally {
    await file.close();
  }
}

/**
 * The last lines of a worker's log, where its folder is also this process's.
 *
 * @param name of a worker that is known: nothing else is ever opened
 */
export async function readLogTail(folder: string, name: string, lines: number, role: Role): Promise<LogTail> {
  if (!WORKER_NAME.test(name)) return { available: false, reason: 'There is no such worker.', lines: [] };
  const path = join(folder, `${name}.log`);
  let all = await linesOf(path);
  if (all === undefined) {
    return {
      available: false,
      reason:
        "The worker's log is not in the dashboard's LOG_DIR: look at the worker's own host, or at its standard output.",
      lines: [],
    };
  }
  // Shortly after the log was put aside most of what is wanted stands in the file before.
  if (all.length < lines) all = [...((await linesOf(`${path}.1`)) ?? []), ...all];
  return { available: true, lines: all.slice(-lines).map((line) => readLine(line, role)) };
}
