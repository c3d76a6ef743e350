import type { BoxList } from './boxes.ts';
import type { Detection, DetectOptions, Size } from './detector.ts';

/** For each class whether it is wanted; undefined when all are. */
export function wantedClasses(
  labels: readonly string[],
  classes: DetectOptions['classes'],
): readonly boolean[] | undefined {
  if (classes === undefined) return undefined;
  const wanted = new Set(classes);
  return labels.map((label) => wanted.has(label));
}

/** A box of the list as a detection, cut off at the frame's edges. */
export function detectionAt(list: BoxList, index: number, frame: Size, labels: readonly string[]): Detection {
  const x = Math.max(list.x1[index] as number, 0);
  const y = Math.max(list.y1[index] as number, 0);
  const classId = list.classId[index] as number;
  return {
    x,
    y,
    width: Math.min(list.x2[index] as number, frame.width) - x,
    height: Math.min(list.y2[index] as number, frame.height) - y,
    confidence: list.score[index] as number,
    classId,
    label: labels[classId] as string,
  };
}
