import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import { KEYS } from './keys.ts';

/** So many actions are remembered; older ones stand in the log. */
const KEPT = 2000;

export type AuditEntry = {
  /** Its place in the stream, which starts with the time in ms. */
  id: string;
  who: string;
  action: string;
  target: string;
  /** `done`, `unchanged`, `failed`, or `unknown` where Redis or the worker did not answer in time. */
  result: string;
  detail: string;
};

/** Writes down what an operator did. @param taskIds tasks that it was done to, for the log: they may be thousands */
export type NoteAction = (entry: Omit<AuditEntry, 'id'>, taskIds?: readonly string[]) => Promise<void>;

/** Actions go to the log in any case, whatever `LOG_LEVEL` says, and to Redis where it answers. */
export function openAudit(redis: Redis, log: Logger): NoteAction {
  const lines = log.child({}, { level: 'info' });
  return async (entry, taskIds) => {
    const { who, action, target, result, detail } = entry;
    lines.info({ audit: entry, ...(taskIds === undefined ? {} : { taskIds }) }, 'dashboard: an operator acted');
    const fields = ['who', who, 'action', action, 'target', target, 'result', result, 'detail', detail];
    await redis
      .xadd(KEYS.audit(), 'MAXLEN', '~', KEPT, '*', ...fields)
      .catch((error: unknown) => log.warn({ err: error }, 'the action could not be written down in Redis'));
  };
}

/** The last actions, the newest first. @param before id of the entry to go on behind */
export async function readAudit(redis: Redis, limit: number, before?: string): Promise<AuditEntry[]> {
  const rows = await redis.xrevrange(KEYS.audit(), before === undefined ? '+' : `(${before}`, '-', 'COUNT', limit);
  return rows.map(([id, list]) => {
    const fields = new Map<string, string>();
    for (let i = 0; i + 1 < list.length; i += 2) fields.set(list[i] ?? '', list[i + 1] ?? '');
    const text = (name: string) => fields.get(name) ?? '';
    return {
      id,
      who: text('who'),
      action: text('action'),
      target: text('target'),
      result: text('result'),
      detail: text('detail'),
    };
  });
}
