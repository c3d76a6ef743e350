import { isErrorCode } from '../errors.ts';

/** Entries of a list that a job page shows; a picture of a crowd has hundreds. */
const LIST_LIMIT = 20;

/** A return value with its long lists cut, so that a page of jobs stays small. */
export function shortened(value: unknown): unknown {
  if (Array.isArray(value)) {
    const head = value.slice(0, LIST_LIMIT).map(shortened);
    return value.length > LIST_LIMIT ? [...head, `... and ${value.length - LIST_LIMIT} more`] : head;
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, shortened(entry)]));
}

/**
 * Why a job failed, without what only concerns this machine: sentences of the contract as they are, anything else
 * reduced to its first line with paths taken out.
 */
export function publicReason(reason: string): string {
  const code = /^([A-Z_]+): /.exec(reason)?.[1];
  if (code !== undefined && (isErrorCode(code) || code === 'REVOKED')) return reason;
  const [first = ''] = reason.split('\n', 1);
  return first.replace(/(['"`])[^'"`]*[\\/][^'"`]*\1/g, "'...'").replace(/(?<![\w.])(\/+[^\s/'"`,;:()]+)+\/?/g, '...');
}

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

function presentJob(job: unknown): unknown {
  if (!isFields(job)) return job;
  const reason = typeof job.failedReason === 'string' ? publicReason(job.failedReason) : job.failedReason;
  const deferred =
    typeof job.deferredFailure === 'string' ? { deferredFailure: publicReason(job.deferredFailure) } : {};
  return { ...job, ...(reason === undefined ? {} : { failedReason: reason }), ...deferred, stacktrace: [] };
}

/** A worker on a Unix socket has the socket's path as its address. */
function presentWorker(worker: unknown): unknown {
  if (!isFields(worker) || typeof worker.addr !== 'string' || !worker.addr.includes('/')) return worker;
  return { ...worker, addr: 'local socket' };
}

/** The body of one of Bull Board's answers without stack traces and paths. */
export function presentBody(body: unknown): unknown {
  if (!isFields(body)) return body;
  const shown: Fields = { ...body };
  if (Array.isArray(body.queues)) {
    shown.queues = body.queues.map((queue: unknown) =>
      isFields(queue) && Array.isArray(queue.jobs) ? { ...queue, jobs: queue.jobs.map(presentJob) } : queue,
    );
  }
  if (isFields(body.job)) shown.job = presentJob(body.job);
  if (Array.isArray(body.workers)) shown.workers = body.workers.map(presentWorker);
  return shown;
}
