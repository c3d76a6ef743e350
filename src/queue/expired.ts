import type { Redis } from 'ioredis';
import { KIND_NAMES } from '../contract/kinds.ts';
import { KEYS, readTaskMember } from './keys.ts';
import type { Queues } from './queues.ts';

/** Jobs and members of the index that are looked at, at a time. */
const AT_ONCE = 1000;

/** True where a task that still waits, runs or shows its result names the file. */
export async function isFileNeeded(redis: Redis | undefined, base: string): Promise<boolean> {
  if (redis === undefined) return false;
  const member = await redis.get(KEYS.file(base));
  if (member === null) return false;
  const { queue, taskId } = readTaskMember(member);
  return (await redis.exists(KEYS.job(queue, taskId))) === 1;
}

/** Removes ended jobs past their time, which BullMQ does only when another one ends. */
export async function sweepJobs(queues: Queues, resultTtlSeconds: number): Promise<void> {
  for (const kind of KIND_NAMES) {
    for (const state of ['completed', 'failed'] as const) {
      let removed: string[];
      do removed = await queues[kind].clean(resultTtlSeconds * 1000, AT_ONCE, state);
      while (removed.length >= AT_ONCE);
    }
  }
}

/** Which of these members of the index have neither a job nor the record of a cancelled task. */
async function goneOf(redis: Redis, members: string[]): Promise<string[]> {
  const lookups = redis.pipeline();
  for (const member of members) {
    const { queue, taskId } = readTaskMember(member);
    lookups.exists(KEYS.job(queue, taskId), KEYS.revoked(taskId));
  }
  const replies = (await lookups.exec()) ?? [];
  return members.filter((_, index) => replies[index]?.[1] === 0);
}

/** Takes entries out of the index of tasks whose task is gone. */
export async function sweepIndex(redis: Redis, owner: string | null, resultTtlSeconds: number): Promise<void> {
  const key = KEYS.index(owner);
  const before = Date.now() - resultTtlSeconds * 1000;
  let kept = 0;
  let members: string[];
  do {
    members = await redis.zrangebyscore(key, 0, before, 'LIMIT', kept, AT_ONCE);
    const gone = await goneOf(redis, members);
    if (gone.length > 0) await redis.zrem(key, ...gone);
    kept += members.length - gone.length;
  } while (members.length === AT_ONCE);
}
