import type { Kind } from '../contract/kinds.ts';
import type { FrameWithFaces, FrameWithObjects } from '../contract/results.ts';
import type { Tracker } from '../track/tracker.ts';
import type { Findings } from './protocol.ts';

export type FrameEntry = FrameWithFaces | FrameWithObjects;

type Numbered<T> = T & { track_id?: number };

/** Gives each finding the number under which the tracker knows it. */
function numbered<T extends { bbox: { x: number; y: number; width: number; height: number } }>(
  found: readonly T[],
  labelOf: (one: T) => string,
  tracker: Tracker | undefined,
  seconds: number,
): Numbered<T>[] {
  if (tracker === undefined) return [...found];
  const ids = tracker.update(
    found.map((one) => ({ ...one.bbox, label: labelOf(one) })),
    seconds,
  );
  return found.map((one, index) => {
    const id = ids[index];
    return id === undefined ? one : { ...one, track_id: id };
  });
}

/** What a result says of one analysed frame; to be called for every one, in order, for the tracker's sake. */
export function frameEntry(
  kind: Kind,
  findings: Findings,
  frame: number,
  seconds: number,
  tracker: Tracker | undefined,
): FrameEntry {
  const timestamp = Math.round(seconds * 1000) / 1000;
  if (kind === 'face') {
    const faces = numbered(findings.faces ?? [], () => 'face', tracker, seconds);
    return { frame, timestamp, faces_count: faces.length, faces };
  }
  const detections = numbered(findings.objects ?? [], (object) => object.class, tracker, seconds);
  return { frame, timestamp, objects: detections.map((object) => object.class), detections };
}

/** How many findings of each label an entry holds. */
export function countLabels(entry: FrameEntry, totals: Record<string, number>): void {
  const labels = 'faces' in entry ? entry.faces.map(() => 'face') : entry.objects;
  for (const label of labels) totals[label] = (totals[label] ?? 0) + 1;
}
