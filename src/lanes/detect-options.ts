import type { TaskOptions } from '../contract/options.ts';
import type { DetectOptions } from '../detect/detector.ts';

/** What a detector is told of a task's options. */
export function detectOptions({ confidence, nms, classes, max_detections, input_size }: TaskOptions): DetectOptions {
  return { confidence, nms, classes, maxDetections: max_detections, inputSize: input_size };
}
