import type { Size } from './detector.ts';

/** Boxes beyond this many, by falling score, are not looked at: 8400 boxes at confidence 0 would take long to compare. */
export const PRE_NMS_LIMIT = 3000;

/**
 * A growing list of scored boxes as columns of numbers, made once and refilled for every picture.
 * Corners are in pixels, x to the right and y down.
 */
export type BoxList = {
  count: number;
  x1: Float64Array;
  y1: Float64Array;
  x2: Float64Array;
  y2: Float64Array;
  score: Float64Array;
  classId: Int32Array;
  /** Where the box came from in the model's output, for what else is to be read there. */
  source: Int32Array;
};

export function createBoxList(capacity = 256): BoxList {
  return {
    count: 0,
    x1: new Float64Array(capacity),
    y1: new Float64Array(capacity),
    x2: new Float64Array(capacity),
    y2: new Float64Array(capacity),
    score: new Float64Array(capacity),
    classId: new Int32Array(capacity),
    source: new Int32Array(capacity),
  };
}

function grown<T extends Float64Array | Int32Array>(column: T, capacity: number): T {
  const next = (column instanceof Float64Array ? new Float64Array(capacity) : new Int32Array(capacity)) as T;
  next.set(column);
  return next;
}

function grow(list: BoxList): void {
  const capacity = list.score.length * 2;
  list.x1 = grown(list.x1, capacity);
  list.y1 = grown(list.y1, capacity);
  list.x2 = grown(list.x2, capacity);
  list.y2 = grown(list.y2, capacity);
  list.score = grown(list.score, capacity);
  list.classId = grown(list.classId, capacity);
  list.source = grown(list.source, capacity);
}

/**
 * Adds a box that shows something inside the frame. Left out are boxes with a coordinate or score that is not finite,
 * without an area, or wholly outside of the frame; scores above 1 count as 1.
 */
export function addBox(
  list: BoxList,
  frame: Size,
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  score: number,
  classId: number,
  source: number,
): void {
  // Comparisons with NaN are false, so each is phrased such that NaN is left out.
  if (!(x2 > x1 && y2 > y1 && x2 > 0 && y2 > 0 && x1 < frame.width && y1 < frame.height)) return;
  if (!Number.isFinite(x2 - x1) || !Number.isFinite(y2 - y1) || !Number.isFinite(score)) return;
  if (list.count === list.score.length) grow(list);
  const at = list.count++;
  list.x1[at] = x1;
  list.y1[at] = y1;
  list.x2[at] = x2;
  list.y2[at] = y2;
  list.score[at] = Math.min(score, 1);
  list.classId[at] = classId;
  list.source[at] = source;
}

/** Intersection over union of two boxes of the list, 0 to 1. */
export function iou(list: BoxList, a: number, b: number): number {
  const { x1, y1, x2, y2 } = list;
  const ax1 = x1[a] as number;
  const ay1 = y1[a] as number;
  const ax2 = x2[a] as number;
  const ay2 = y2[a] as number;
  const bx1 = x1[b] as number;
  const by1 = y1[b] as number;
  const bx2 = x2[b] as number;
  const by2 = y2[b] as number;
  const width = Math.min(ax2, bx2) - Math.max(ax1, bx1);
  const height = Math.min(ay2, by2) - Math.max(ay1, by1);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared);
}

/** Indices of the highest scores by falling score, at most {@link PRE_NMS_LIMIT}; equal scores keep their order. */
function ranked(list: BoxList): Uint32Array {
  const scores = list.score.subarray(0, list.count);
  let indices = Uint32Array.from(scores.keys());
  if (list.count > PRE_NMS_LIMIT) {
    const bar = scores.slice().sort()[list.count - PRE_NMS_LIMIT] as number;
    let atBar = PRE_NMS_LIMIT - scores.reduce((above, score) => above + (score > bar ? 1 : 0), 0);
    indices = indices.filter((index) => {
      const score = scores[index] as number;
      return score > bar || (score === bar && atBar-- > 0);
    });
  }
  return indices.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
}

/**
 * Greedy non-maximum suppression within each class: by falling score, a box is kept unless it overlaps one that is
 * kept already by more than `threshold`.
 *
 * @param threshold IoU, 0 to 1; null keeps every box
 * @param limit at most so many boxes are kept
 * @returns indices into the list by falling score
 */
export function suppress(list: BoxList, threshold: number | null, limit: number): number[] {
  const kept: number[] = [];
  for (const index of ranked(list)) {
    if (kept.length >= limit) break;
    const classId = list.classId[index];
    const doubled =
      threshold !== null &&
      kept.some((better) => list.classId[better] === classId && iou(list, better, index) > threshold);
    if (!doubled) kept.push(index);
  }
  return kept;
}

export const clamp = (value: number, min: number, max: number) => Math.min(Math.max(value, min), max);
