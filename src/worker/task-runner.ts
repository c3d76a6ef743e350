import type { TaskResult } from '../contract/results.ts';
import type { JobData } from '../contract/task.ts';
import { AppError, TransientError } from '../errors.ts';
import type { OnProgress } from '../lanes/lane-process.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { roundedMs } from '../lanes/milliseconds.ts';
import type { LaneAnswer, LaneTask } from '../lanes/protocol.ts';
import { detectionsName, parseName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';
import { resultOf } from './results.ts';

/** What a detection process is to do, and the names that its temporary files get when all went well. */
type Plan = { task: LaneTask; outputs: { temporary: string; name: string }[] };

function planPicture(taskId: string, data: JobData, path: string, storage: Storage): Plan {
  const { kind, file, options, annotated } = data;
  const drawn = options.annotate === 'true' && annotated !== null ? annotated : undefined;
  const temporary = drawn === undefined ? null : storage.temporaryPath(taskId);
  const { mime, width, height } = file;
  return {
    task: {
      media: 'image',
      taskId,
      kind,
      path,
      mime,
      width,
      height,
      options,
      annotateInto: temporary,
    },
    outputs: temporary === null || drawn === undefined ? [] : [{ temporary, name: drawn }],
  };
}

function planVideo(taskId: string, data: JobData, path: string, storage: Storage): Plan {
  const { kind, file, options, annotated } = data;
  const base = parseName(file.name)?.base ?? '';
  const json = { temporary: storage.temporaryPath(taskId), name: detectionsName(base, 'json') };
  const lines = { temporary: storage.temporaryPath(taskId), name: detectionsName(base, 'ndjson') };
  const drawn = annotated === null ? undefined : { temporary: storage.temporaryPath(taskId), name: annotated };
  return {
    task: {
      media: 'video',
      taskId,
      kind,
      path,
      options,
      files: { json: json.temporary, lines: lines.temporary, annotated: drawn?.temporary ?? null },
    },
    outputs: [json, lines, ...(drawn === undefined ? [] : [drawn])],
  };
}

function succeeded(answer: LaneAnswer): LaneAnswer & { ok: true } {
  if (answer.ok) return answer;
  if (answer.transient) throw new TransientError(answer.message, { cause: answer.cause });
  throw new AppError(answer.code, answer.message, {
    ...(answer.details === undefined ? {} : { details: answer.details }),
    cause: answer.cause,
  });
}

/**
 * One attempt at one task: storage, lane, result. Used by the queue's consumer and by the sync mode.
 *
 * @param waited how long the task had waited before this attempt, in ms; nothing is kept before it is known
 * @throws AppError for what no further attempt mends, TransientError for the rest, the signal's reason when aborted
 */
export async function runTask(
  taskId: string,
  data: JobData,
  waited: number | Promise<number>,
  { lanes, storage }: { lanes: Lanes; storage: Storage },
  signal: AbortSignal,
  onProgress?: OnProgress,
): Promise<TaskResult> {
  const start = performance.now();
  // An attempt that was killed has left its files behind. One that still lives has lost its lock and may fail.
  if (data.media === 'video' || storage.copies) await storage.discardOf(taskId);
  const source = await storage.fetch(data.file.name, taskId, signal);
  if (source === undefined) throw new TransientError('the file of the task is not in storage');
  const plan = data.media === 'video' ? planVideo : planPicture;
  const { task, outputs } = plan(taskId, data, source.path, storage);
  try {
    const answer = succeeded(await lanes.run(task, signal, onProgress));
    const waitMs = await waited;
    for (const { temporary, name } of outputs) await storage.commit(temporary, name, signal);
    const total = roundedMs(waitMs + performance.now() - start);
    const timings = { wait: roundedMs(waitMs), ...answer.timings, total };
    return resultOf(data, answer, timings);
  } catch (error) {
    // Only what is this attempt's own: where it has lost its lock, another one works on the task by now.
    await Promise.all(outputs.map(({ temporary }) => storage.discard(temporary).catch(() => undefined)));
    throw error;
  } finally {
    await source.release();
  }
}
