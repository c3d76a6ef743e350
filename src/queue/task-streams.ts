import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Order } from '../contract/admin-requests.ts';
import type { QueueName } from '../contract/kinds.ts';
import type { TaskState } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { KEYS, taskMember } from './keys.ts';

/** Tasks in one order, read piece by piece: a sorted set downwards or upwards, or a list. */
export type Stream = {
  key: string;
  kind: 'newest' | 'next' | 'list';
  /** Undefined where the members name their queue themselves. */
  queue: QueueName | undefined;
  /** Lowest and highest score that is looked at. */
  range: { min: number | '-inf'; max: number | '+inf' };
};

/** Streams that are merged; groups come one after the other. */
export type Plan = Stream[][];

export type Entry = { stream: number; score: number; member: string };

const Position = z.tuple([z.number().nullable(), z.int().min(0)]);
const Cursor = z.object({ g: z.int().min(0), p: z.array(Position).max(8), k: z.string() });

/** How far each stream has been read: the score it stands at, and how many of that score are done. */
type Positions = z.infer<typeof Position>[];

export type Wanted = {
  states: readonly TaskState[] | undefined;
  queues: readonly QueueName[];
  worker: string | undefined;
  /** Times of creation in ms. */
  from: number | undefined;
  to: number | undefined;
  order: Order;
};

const WHOLE = { min: '-inf', max: '+inf' } as const;

/** Where to look for tasks so that as few as possible are looked at in vain. */
export function planSearch({ states, queues, worker, from, to, order }: Wanted): Plan {
  const byTime = order === 'oldest' ? 'next' : 'newest';
  const each = (make: (queue: QueueName) => string, kind: Stream['kind'], range: Stream['range'] = WHOLE): Stream[] =>
    queues.map((queue) => ({ key: make(queue), kind, queue, range }));
  // A task ends after it was created.
  const ended = { min: from ?? '-inf', max: '+inf' } as const;
  const index: Plan = [
    [{ key: KEYS.index(null), kind: byTime, queue: undefined, range: { min: from ?? '-inf', max: to ?? '+inf' } }],
  ];
  const [only, ...others] = states ?? [];
  if (only === undefined || others.length > 0) {
    // The oldest have all been started; of the newest many may wait that no worker has seen.
    const started = worker !== undefined || order === 'longest_run';
    if (!started || to !== undefined || order === 'oldest') return index;
    return [
      each(KEYS.active, 'list'),
      [...each(KEYS.completed, 'newest', ended), ...each(KEYS.failed, 'newest', ended)],
      each(KEYS.delayed, 'next'),
    ];
  }
  switch (only) {
    case 'PROCESSING':
      return [each(KEYS.active, 'list')];
    case 'RETRY':
      return [each(KEYS.delayed, 'next'), each(KEYS.prioritized, 'next')];
    case 'PENDING':
      return (to === undefined && from === undefined) || order === 'oldest'
        ? [each(KEYS.waiting, 'list'), each(KEYS.prioritized, 'next')]
        : index;
    case 'SUCCESS':
      return to === undefined ? [each(KEYS.completed, byTime, ended)] : index;
    case 'FAILURE':
      // From the oldest on the index leads through all that went well.
      return to === undefined || order === 'oldest' ? [each(KEYS.failed, byTime, ended)] : index;
    default:
      return index;
  }
}

const badCursor = () =>
  new AppError('INVALID_OPTION', 'Option cursor is not one that this search has given.', {
    details: [{ option: 'cursor', message: 'is not one that this search has given' }],
  });

async function readStream(
  redis: Redis,
  stream: Stream,
  [score, done]: Positions[number],
  count: number,
): Promise<Entry[]> {
  const { key, kind, queue, range } = stream;
  const named = (member: string) => (queue === undefined ? member : taskMember(queue, member));
  if (kind === 'list') {
    const ids = await redis.lrange(key, done, done + count - 1);
    return ids.map((id, index) => ({ stream: 0, score: -(done + index), member: named(id) }));
  }
  const bounds = ['WITHSCORES', 'LIMIT', done, count] as const;
  const flat =
    kind === 'newest'
      ? await redis.zrevrangebyscore(key, score ?? range.max, range.min, ...bounds)
      : await redis.zrangebyscore(key, score ?? range.min, range.max, ...bounds);
  const entries: Entry[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    entries.push({ stream: 0, score: Number(flat[i + 1]), member: named(flat[i] ?? '') });
  return entries;
}

export type StreamReader = {
  /** The next entries of all streams in their common order; none at the end. */
  next(count: number): Promise<Entry[]>;
  /** The entry has been looked at: the cursor stands behind it. */
  pass(entry: Entry): void;
  cursor(): string;
};

/** @param key what is searched for: a cursor of another search is refused @throws AppError INVALID_OPTION */
export function readStreams(redis: Redis, plan: Plan, key: string, cursor: string | undefined): StreamReader {
  let group = 0;
  const fresh = (): Positions => (plan[group] ?? []).map(() => [null, 0]);
  let positions = fresh();
  if (cursor !== undefined) {
    const given = Cursor.safeParse(parse(cursor)).data;
    if (given === undefined || given.k !== key || given.p.length !== plan[given.g]?.length) throw badCursor();
    group = given.g;
    positions = given.p;
  }
  return {
    async next(count) {
      for (; group < plan.length; group++, positions = fresh()) {
        const streams = plan[group] ?? [];
        const read = await Promise.all(
          streams.map(async (stream, index) =>
            (await readStream(redis, stream, positions[index] ?? [null, 0], count)).map((entry) => ({
              ...entry,
              stream: index,
            })),
          ),
        );
        const upwards = streams[0]?.kind === 'next';
        const merged = read.flat().sort((a, b) => (upwards ? a.score - b.score : b.score - a.score));
        if (merged.length > 0) return merged.slice(0, count);
      }
      return [];
    },
    pass({ stream, score }) {
      const [at, done] = positions[stream] ?? [null, 0];
      const isList = plan[group]?.[stream]?.kind === 'list';
      positions[stream] = isList ? [null, done + 1] : at === score ? [score, done + 1] : [score, 1];
    },
    cursor: () => Buffer.from(JSON.stringify({ g: group, p: positions, k: key })).toString('base64url'),
  };
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    return undefined;
  }
}
