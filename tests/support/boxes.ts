import type { BoundingBox } from '../../src/contract/results.ts';

export type Corners = [x: number, y: number, width: number, height: number];

export const boxOf = ([x, y, width, height]: Corners): BoundingBox => ({ x, y, width, height });

/** Area that two boxes share over the area that they cover together. */
export function iou(a: BoundingBox, b: BoundingBox): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (a.width * a.height + b.width * b.height - shared);
}
