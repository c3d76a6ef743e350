import type { TaskResult } from '../contract/results.ts';
import type { JobData } from '../contract/task.ts';
import { AppError, TransientError } from '../errors.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { LaneAnswer } from '../lanes/protocol.ts';
import { urlOf } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';

const rounded = (ms: number) => Math.round(ms * 100) / 100;

function resultOf(data: JobData, answer: LaneAnswer & { ok: true }, timings: TaskResult['timings_ms']): TaskResult {
  const common = {
    annotated_image: data.annotated === null ? null : urlOf(data.annotated),
    original_image: urlOf(data.file.name),
    image: { width: data.file.width, height: data.file.height },
    model: data.options.model,
    timings_ms: timings,
  };
  const { faces, objects } = answer.findings;
  return data.kind === 'face'
    ? { success: true, faces_detected: faces?.length ?? 0, faces: faces ?? [], ...common }
    : { success: true, objects_detected: objects?.length ?? 0, objects: objects ?? [], ...common };
}

/**
 * One attempt at one task: storage, lane, result. Used by the queue's consumer and by the sync mode.
 *
 * @param waitMs how long the task had waited before this attempt
 * @throws AppError for what no further attempt mends, TransientError for the rest, the signal's reason when aborted
 */
export async function runTask(
  taskId: string,
  data: JobData,
  waitMs: number,
  { lanes, storage }: { lanes: Lanes; storage: Storage },
  signal: AbortSignal,
): Promise<TaskResult> {
  const start = performance.now();
  const drawNow = data.options.annotate === 'true' && data.annotated !== null;
  const annotateInto = drawNow ? storage.temporaryPath() : null;
  try {
    const answer = await lanes.run(
      {
        taskId,
        kind: data.kind,
        path: storage.localPath(data.file.name),
        mime: data.file.mime,
        width: data.file.width,
        height: data.file.height,
        options: data.options,
        annotateInto,
      },
      signal,
    );
    if (!answer.ok) {
      if (answer.transient) throw new TransientError(answer.message, { cause: answer.cause });
      throw new AppError(answer.code, answer.message, {
        ...(answer.details === undefined ? {} : { details: answer.details }),
        cause: answer.cause,
      });
    }
    if (annotateInto !== null && data.annotated !== null) await storage.commit(annotateInto, data.annotated);
    const timings = { wait: rounded(waitMs), ...answer.timings, total: rounded(waitMs + performance.now() - start) };
    return resultOf(data, answer, timings);
  } catch (error) {
    if (annotateInto !== null) await storage.discard(annotateInto).catch(() => undefined);
    throw error;
  }
}
