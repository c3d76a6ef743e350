import type { Kind, Media, QueueName } from '../contract/kinds.ts';
import type { TaskOptions } from '../contract/options.ts';
import type { StoredFile, Task, TaskState } from '../contract/task.ts';

export type Submission = {
  kind: Kind;
  media: Media;
  /** Name of the API key that posts it, null where keys are off. */
  owner: string | null;
  requestId: string;
  file: StoredFile;
  /** Common part of the names of all files of this task. */
  base: string;
  annotated: string | null;
  options: TaskOptions;
  idempotency: { key: string; fingerprint: string } | undefined;
  /** Removes the stored file; never rejects. */
  discardFile(): Promise<void>;
};

export type Submitted = {
  taskId: string;
  /** False where an earlier request under the same idempotency key had made the task. */
  created: boolean;
};

export type ListQuery = {
  owner: string | null;
  state: TaskState | undefined;
  queue: QueueName | undefined;
  limit: number;
  cursor: string | undefined;
};

/** The life of tasks as the web process sees it. */
export type TaskService = {
  /** @throws AppError QUEUE_UNAVAILABLE, QUEUE_FULL before anything is uploaded */
  checkCapacity(kind: Kind): Promise<void>;
  /**
   * Takes charge of the submission's file: it is discarded where no task needs it.
   *
   * @throws AppError QUEUE_UNAVAILABLE, QUEUE_FULL (nothing stays behind), IDEMPOTENCY_MISMATCH
   */
  submit(submission: Submission): Promise<Submitted>;
  /** @throws AppError TASK_NOT_FOUND, QUEUE_UNAVAILABLE, INTERNAL where the key to its result is missing */
  get(taskId: string, owner: string | null): Promise<Task>;
  /** The newest first. @throws AppError INVALID_OPTION for a cursor that is none of ours */
  list(query: ListQuery): Promise<{ tasks: Task[]; next_cursor: string | null }>;
  /**
   * Names of files that nobody needs any more come back, and whether the task had been cancelled before.
   *
   * @throws AppError TASK_NOT_FOUND, TASK_FINISHED
   */
  cancel(taskId: string, owner: string | null): Promise<{ files: string[]; already: boolean }>;
  /**
   * Resolves with the task when it has ended, at the latest after `waitMs`; earlier when `signal` says so.
   *
   * @param kind of the task, where it is known
   */
  waitForEnd(taskId: string, owner: string | null, waitMs: number, signal: AbortSignal, kind?: Kind): Promise<Task>;
  /**
   * The finished task that a stored file belongs to, undefined where there is none (any more).
   *
   * @throws AppError INTERNAL where the key to its result is missing
   */
  findByFile(base: string): Promise<Task | undefined>;
};
