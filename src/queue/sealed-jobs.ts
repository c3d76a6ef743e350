import { randomUUID } from 'node:crypto';
import { type BackendFactory, createRedisBackend, type JobJson, type RedisQueueBackend } from 'bullmq';
import { AppError, isErrorCode } from '../errors.ts';
import { type Keyring, MISSING_KEY_SENTENCE } from '../sealing/keyring.ts';
import { isSealedText, openText, sealText } from '../sealing/values.ts';
import { failureText } from './failure.ts';

/*
 * What a job carries of its client's is encrypted on its way to Redis and opened on its way back, below BullMQ, so that
 * everything above it sees plain jobs: data but for the owner's name, progress, result and the reason of a failure.
 * Ids, states, counts and times are not.
 */

/** What stands in the place of job data or of a result that could not be opened; of data the owner is known. */
export type Unreadable = { owner?: string | null; unreadable: string; cause: string };

/** The error behind job data or a result which could not be opened; undefined for any other value. */
export function whyUnreadable(value: unknown): AppError | undefined {
  const { unreadable, cause } = (value ?? {}) as Partial<Unreadable>;
  return unreadable === undefined ? undefined : new AppError('INTERNAL', unreadable, { cause });
}

/** JSON of what takes a value's place; the start tells it from a plain one without parsing. */
const SEALED_JSON = '{"sealed":"sealed:';
const isSealedJson = (json: unknown): json is string => typeof json === 'string' && json.startsWith(SEALED_JSON);

const FAILURE = /^([A-Z_]+): (.*)$/s;

const contextOf = (what: 'data' | 'progress' | 'result' | 'failure', taskId: string) => `${what} of task ${taskId}`;

function asAppError(error: unknown): AppError {
  return error instanceof AppError ? error : new AppError('INTERNAL', MISSING_KEY_SENTENCE, { cause: error });
}

function unreadableJson(error: unknown, known: { owner?: string | null }): string {
  const { message, cause } = asAppError(error);
  const value: Unreadable = {
    ...known,
    unreadable: message,
    cause: cause instanceof Error ? cause.message : String(cause),
  };
  return JSON.stringify(value);
}

type JobSeals = ReturnType<typeof sealJobs>;

function sealJobs(keyring: Keyring) {
  const { current } = keyring;

  function sealData(json: string, taskId: string): string {
    if (current === undefined) return json;
    const { owner = null } = JSON.parse(json) as { owner?: string | null };
    return JSON.stringify({ sealed: sealText(current, json, contextOf('data', taskId)), owner });
  }

  function openData(json: string, taskId: string): string {
    if (!isSealedJson(json)) return json;
    const { sealed, owner } = JSON.parse(json) as { sealed: string; owner: string | null };
    try {
      return openText(keyring, sealed, contextOf('data', taskId));
    } catch (error) {
      return unreadableJson(error, { owner });
    }
  }

  function sealValue<T>(value: T, what: 'progress' | 'result', taskId: string): T | { sealed: string } {
    if (current === undefined || value === undefined || value === null) return value;
    return { sealed: sealText(current, JSON.stringify(value), contextOf(what, taskId)) };
  }

  function openProgress(progress: JobJson['progress'], taskId: string): JobJson['progress'] {
    const { sealed } = (progress ?? {}) as { sealed?: unknown };
    if (typeof sealed !== 'string' || !isSealedText(sealed)) return progress;
    try {
      return JSON.parse(openText(keyring, sealed, contextOf('progress', taskId))) as JobJson['progress'];
    } catch {
      return 0;
    }
  }

  /** The code stays: it says nothing of the file, and operators count by it. */
  function sealFailure(reason: string, taskId: string): string {
    const [, code = '', rest = ''] = FAILURE.exec(reason) ?? [];
    if (current === undefined || !isErrorCode(code)) return reason;
    return `${code}: ${sealText(current, rest, contextOf('failure', taskId))}`;
  }

  function openFailure(reason: string, taskId: string): string {
    const [, code = '', rest = ''] = FAILURE.exec(reason) ?? [];
    if (!isErrorCode(code) || !isSealedText(rest)) return reason;
    try {
      return `${code}: ${openText(keyring, rest, contextOf('failure', taskId))}`;
    } catch (error) {
      return failureText(new AppError(code, asAppError(error).message));
    }
  }

  /** The task stays a successful one, with a result that nobody here can read. */
  function openResult(returnvalue: JobJson['returnvalue'], taskId: string): JobJson['returnvalue'] {
    if (!isSealedJson(returnvalue)) return returnvalue;
    try {
      const { sealed } = JSON.parse(returnvalue) as { sealed: string };
      return openText(keyring, sealed, contextOf('result', taskId));
    } catch (error) {
      return unreadableJson(error, {});
    }
  }

  return {
    sealData,
    sealValue,
    sealFailure,
    sealFields: (fields: Record<string, unknown> | undefined, taskId: string) =>
      typeof fields?.failedReason === 'string'
        ? { ...fields, failedReason: sealFailure(fields.failedReason, taskId) }
        : fields,
    open(job: JobJson, taskId: string): JobJson {
      const failed = typeof job.failedReason === 'string' ? openFailure(job.failedReason, taskId) : job.failedReason;
      return {
        ...job,
        data: openData(job.data, taskId),
        progress: openProgress(job.progress, taskId),
        returnvalue: openResult(job.returnvalue, taskId),
        failedReason: failed,
      };
    },
  };
}

/** BullMQ's moves answer with the next job, where there is one: `[job, id, ...]`. */
function openNext<T>(next: T, seals: JobSeals): T {
  if (!Array.isArray(next) || next[0] === null || next[0] === undefined) return next;
  const [job, id, ...rest] = next as [JobJson, string, ...unknown[]];
  return [seals.open(job, id), id, ...rest] as T;
}

function sealed(backend: RedisQueueBackend, seals: JobSeals): RedisQueueBackend {
  const plain = {
    addJob: backend.addJob.bind(backend),
    addJobs: backend.addJobs.bind(backend),
    updateData: backend.updateData.bind(backend),
    updateProgress: backend.updateProgress.bind(backend),
    moveToActive: backend.moveToActive.bind(backend),
    moveToCompleted: backend.moveToCompleted.bind(backend),
    moveToFailed: backend.moveToFailed.bind(backend),
    moveToDelayed: backend.moveToDelayed.bind(backend),
    retryJob: backend.retryJob.bind(backend),
    getJobData: backend.getJobData.bind(backend),
  };
  const sealJob = (job: JobJson, taskId: string): JobJson => ({ ...job, data: seals.sealData(job.data, taskId) });

  const overrides: Partial<RedisQueueBackend> = {
    addJob(job, jobId, parent) {
      const taskId = jobId ?? randomUUID();
      return plain.addJob(sealJob(job, taskId), taskId, parent);
    },
    addJobs(entries) {
      return plain.addJobs(
        entries.map((entry) => {
          const jobId = entry.jobId ?? randomUUID();
          return { ...entry, job: sealJob(entry.job, jobId), jobId };
        }),
      );
    },
    updateData(job, data) {
      const json = seals.sealData(JSON.stringify(data), job.id ?? '');
      return plain.updateData(job, JSON.parse(json));
    },
    updateProgress(taskId, progress) {
      return plain.updateProgress(taskId, seals.sealValue(progress, 'progress', taskId));
    },
    async moveToActive(token, name) {
      return openNext(await plain.moveToActive(token, name), seals);
    },
    async moveToCompleted(job, value, remove, token, fetchNext) {
      const result = seals.sealValue(value, 'result', job.id ?? '') as typeof value;
      const moved = await plain.moveToCompleted(job, result, remove, token, fetchNext);
      return { ...moved, result: openNext(moved.result, seals) };
    },
    async moveToFailed(job, reason, remove, token, fetchNext, fields) {
      const taskId = job.id ?? '';
      const text = seals.sealFailure(reason, taskId);
      const moved = await plain.moveToFailed(job, text, remove, token, fetchNext, seals.sealFields(fields, taskId));
      return { ...moved, result: openNext(moved.result, seals) };
    },
    async moveToDelayed(taskId, timestamp, delay, token, options) {
      const fieldsToUpdate = seals.sealFields(options?.fieldsToUpdate, taskId);
      const sealedOptions = { ...options, ...(fieldsToUpdate === undefined ? {} : { fieldsToUpdate }) };
      return openNext(await plain.moveToDelayed(taskId, timestamp, delay, token, sealedOptions), seals);
    },
    retryJob(taskId, lifo, token, options) {
      const fieldsToUpdate = seals.sealFields(options?.fieldsToUpdate, taskId);
      return plain.retryJob(
        taskId,
        lifo,
        token,
        fieldsToUpdate === undefined ? options : { ...options, fieldsToUpdate },
      );
    },
    async getJobData(taskId) {
      const job = await plain.getJobData(taskId);
      return job === undefined ? undefined : seals.open(job, taskId);
    },
  };
  return Object.assign(backend, overrides);
}

/** BullMQ's own way to Redis, with everything that belongs to clients encrypted where the keyring has a key. */
export function sealingBackend(keyring: Keyring): BackendFactory<RedisQueueBackend> {
  return (name, options, more) => sealed(createRedisBackend(name, options, more), sealJobs(keyring));
}
