import type { Detector } from '../detect/detector.ts';
import { freeBuffer } from '../free-buffer.ts';
import { decodeImage } from '../media/decode-image.ts';
import { detectOptions } from './detect-options.ts';
import { toFindings } from './findings.ts';
import { roundedMs } from './milliseconds.ts';
import type { LaneAnswer, PictureTask } from './protocol.ts';

const milliseconds = (since: number) => roundedMs(performance.now() - since);

/** How long a task may take is its worker's to say, who ends this process; a day in ms. */
const NO_LIMIT_MS = 86_400_000;

/**
 * One picture from file to findings: decode no larger than the detector looks, detect, draw where asked for.
 *
 * @throws AppError UNREADABLE_MEDIA and whatever decoder, detector or disk throw
 */
export async function detectInPicture(
  task: PictureTask,
  detector: Detector,
  { pixels }: { pixels: number },
): Promise<LaneAnswer & { ok: true }> {
  const limits = { pixels, timeoutMs: NO_LIMIT_MS };
  const options = detectOptions(task.options);
  const decodeStart = performance.now();
  const frame = await decodeImage(task.path, task.mime, detector.frameSize(task, options), limits);
  const decode = milliseconds(decodeStart);
  const { detections, inferenceMs, postprocessMs } = await detector.detect(frame, options);
  freeBuffer(frame.data);
  const findings = toFindings(task.kind, detections, frame, task);
  const annotateStart = performance.now();
  if (task.annotateInto !== null) {
    const { annotateImage } = await import('../media/annotate.ts');
    const { boxesToDraw } = await import('../media/boxes-to-draw.ts');
    await annotateImage(
      { source: task.path, mime: task.mime, boxes: boxesToDraw(findings) },
      task.annotateInto,
      limits,
    );
  }
  return {
    ok: true,
    findings,
    timings: {
      decode,
      inference: roundedMs(inferenceMs),
      postprocess: roundedMs(postprocessMs),
      annotate: task.annotateInto === null ? 0 : milliseconds(annotateStart),
    },
  };
}
