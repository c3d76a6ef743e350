import type { Redis } from 'ioredis';
import type { Task } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { KEYS, readTaskMember } from './keys.ts';
import type { TaskLookup } from './task-lookup.ts';
import type { ListQuery } from './task-service.ts';

/** Entries of the index that one page looks at in search of matching tasks. */
const SCAN_LIMIT = 1000;
const SCAN_STEP = 100;

type Entry = { score: number; member: string };

const encodeCursor = (entry: Entry) => Buffer.from(`${entry.score} ${entry.member}`).toString('base64url');

function decodeCursor(text: string): Entry {
  const match = /^(\d+) (\S+)$/.exec(Buffer.from(text, 'base64url').toString());
  if (match === null)
    throw new AppError('INVALID_OPTION', 'Option cursor is not one that this list has given.', {
      details: [{ option: 'cursor', message: 'is not one that this list has given' }],
    });
  return { score: Number(match[1]), member: match[2] ?? '' };
}

async function entriesBefore(redis: Redis, key: string, from: Entry | undefined): Promise<Entry[]> {
  const page = await redis.zrevrangebyscore(key, from?.score ?? '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, SCAN_STEP);
  const entries: Entry[] = [];
  for (let i = 0; i + 1 < page.length; i += 2) entries.push({ member: page[i] ?? '', score: Number(page[i + 1]) });
  return entries.filter((entry) => from === undefined || entry.score < from.score || entry.member < from.member);
}

/** A page of tasks, the newest first. @throws AppError INVALID_OPTION for a cursor that is none of ours */
export async function listTasks(
  redis: Redis,
  { load }: TaskLookup,
  { owner, state, queue, limit, cursor }: ListQuery,
): Promise<{ tasks: Task[]; next_cursor: string | null }> {
  const tasks: Task[] = [];
  let from = cursor === undefined ? undefined : decodeCursor(cursor);
  let scanned = 0;
  while (tasks.length < limit && scanned < SCAN_LIMIT) {
    const entries = await entriesBefore(redis, KEYS.index(owner), from);
    if (entries.length === 0) return { tasks, next_cursor: null };
    const loaded = await Promise.all(
      entries.map(async ({ member }) => {
        const { queue: ofQueue, taskId } = readTaskMember(member);
        return queue === undefined || ofQueue === queue ? (await load(taskId, owner))?.task : undefined;
      }),
    );
    for (const [index, entry] of entries.entries()) {
      from = entry;
      scanned++;
      const task = loaded[index];
      if (task !== undefined && (state === undefined || task.state === state)) tasks.push(task);
      if (tasks.length === limit) break;
    }
  }
  return { tasks, next_cursor: from === undefined ? null : encodeCursor(from) };
}
