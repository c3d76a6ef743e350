import type { DetectOptions, Detector } from '../detect/detector.ts';
import { annotateImage } from '../media/annotate.ts';
import { boxesToDraw } from '../media/boxes-to-draw.ts';
import { decodeImage } from '../media/decode-image.ts';
import { toFindings } from './findings.ts';
import type { LaneAnswer, PictureTask } from './protocol.ts';

const milliseconds = (since: number) => Math.round((performance.now() - since) * 100) / 100;

/**
 * One picture from file to findings: decode no larger than the detector looks, detect, draw where asked for.
 *
 * @throws AppError UNREADABLE_MEDIA and whatever decoder, detector or disk throw
 */
export async function detectInPicture(
  task: PictureTask,
  detector: Detector,
  limits: { pixels: number },
): Promise<LaneAnswer & { ok: true }> {
  const options: DetectOptions = {
    confidence: task.options.confidence,
    nms: task.options.nms,
    classes: task.options.classes,
    maxDetections: task.options.max_detections,
    inputSize: task.options.input_size,
  };
  const decodeStart = performance.now();
  const frame = await decodeImage(task.path, task.mime, detector.frameSize(task, options), limits);
  const decode = milliseconds(decodeStart);
  const { detections, inferenceMs, postprocessMs } = await detector.detect(frame, options);
  const findings = toFindings(task.kind, detections, frame, task);
  const annotateStart = performance.now();
  if (task.annotateInto !== null) {
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
      inference: Math.round(inferenceMs * 100) / 100,
      postprocess: Math.round(postprocessMs * 100) / 100,
      annotate: task.annotateInto === null ? 0 : milliseconds(annotateStart),
    },
  };
}
