import { assign } from './assignment.ts';
import { type BoxFilter, type CentredBox, filterBox } from './kalman.ts';

type Box = { x: number; y: number; width: number; height: number };
export type Tracked = Box & { label: string };

export type Tracker = {
  /**
   * Follows what was seen into the next analysed frame.
   *
   * @param seconds presentation time of the frame, not before the one before
   * @returns an id for each detection, in their order; ids count from 1
   */
  update(detections: readonly Tracked[], seconds: number): number[];
  /** How many different things of each label have been seen, in at least two analysed frames where there were two. */
  unique(): Record<string, number>;
};

/** A thing out of sight for longer is another thing when it comes back, in seconds. */
const MAX_LOST_SECONDS = 2;
const MIN_IOU = 0.3;
/** Second round: boxes grown by this part of their size on each side, as in C-BIoU (Yang et al. 2023). */
const GROWTH = 0.5;
const MIN_GROWN_IOU = 0.15;
const MIN_SIGHTINGS = 2;

type Track = { id: number; label: string; filter: BoxFilter; predicted: Box; seenAt: number; sightings: number };

const centred = (box: Box): CentredBox => ({
  cx: box.x + box.width / 2,
  cy: box.y + box.height / 2,
  width: box.width,
  height: box.height,
});

const cornered = ({ cx, cy, width, height }: CentredBox): Box => ({
  x: cx - width / 2,
  y: cy - height / 2,
  width,
  height,
});

const grown = (box: Box): Box => ({
  x: box.x - box.width * GROWTH,
  y: box.y - box.height * GROWTH,
  width: box.width * (1 + 2 * GROWTH),
  height: box.height * (1 + 2 * GROWTH),
});

function iou(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (a.width * a.height + b.width * b.height - both);
}

/**
 * Gives things in a video an identity: SORT (Bewley et al. 2016, arXiv:1602.00763), that is Kalman prediction and
 * Hungarian assignment by IoU within a label, with a second round on grown boxes for what moves further than its own
 * size between analysed frames. It looks at boxes only: two things that pass behind each other may swap their ids,
 * and one that leaves for more than two seconds is counted anew.
 */
export function createTracker(): Tracker {
  let tracks: Track[] = [];
  let lastSeconds: number | undefined;
  let nextId = 1;
  let frames = 0;
  const sightingsOf = new Map<number, { label: string; sightings: number }>();

  function match(
    candidates: Track[],
    open: number[],
    detections: readonly Tracked[],
    ids: number[],
    grow: boolean,
    seconds: number,
  ): void {
    for (const label of new Set(open.map((index) => detections[index]?.label))) {
      const mine = candidates.filter((track) => track.label === label);
      const theirs = open.filter((index) => detections[index]?.label === label);
      const shape = grow ? grown : (box: Box) => box;
      const overlaps = mine.map((track) => {
        const predicted = shape(track.predicted);
        return theirs.map((index) => iou(predicted, shape(detections[index] as Tracked)));
      });
      const least = grow ? MIN_GROWN_IOU : MIN_IOU;
      for (const [row, column] of assign(
        overlaps.map((row) => row.map((value) => (value < least ? 1 : 1 - value))),
      ).entries()) {
        const track = mine[row];
        const index = theirs[column];
        const detection = index === undefined ? undefined : detections[index];
        if (track === undefined || index === undefined || detection === undefined) continue;
        if ((overlaps[row]?.[column] ?? 0) < least) continue;
        track.filter.update(centred(detection));
        track.seenAt = seconds;
        track.sightings++;
        ids[index] = track.id;
      }
    }
  }

  return {
    update(detections, seconds) {
      const elapsed = lastSeconds === undefined ? 0 : Math.max(0, seconds - lastSeconds);
      lastSeconds = seconds;
      frames++;
      tracks = tracks.filter((track) => seconds - track.seenAt <= MAX_LOST_SECONDS + elapsed);
      for (const track of tracks) track.predicted = cornered(track.filter.predict(elapsed));
      const ids = new Array<number>(detections.length).fill(0);
      const openDetections = () => ids.flatMap((id, index) => (id === 0 ? [index] : []));
      const openTracks = () => tracks.filter((track) => !ids.includes(track.id));
      match(openTracks(), openDetections(), detections, ids, false, seconds);
      match(openTracks(), openDetections(), detections, ids, true, seconds);
      for (const index of openDetections()) {
        const detection = detections[index] as Tracked;
        const { label } = detection;
        ids[index] = nextId;
        tracks.push({
          id: nextId++,
          label,
          filter: filterBox(centred(detection)),
          predicted: detection,
          seenAt: seconds,
          sightings: 1,
        });
      }
      for (const { id, label, sightings } of tracks) sightingsOf.set(id, { label, sightings });
      return ids;
    },
    unique() {
      const counts: Record<string, number> = {};
      const least = Math.min(MIN_SIGHTINGS, frames);
      for (const { label, sightings } of sightingsOf.values()) {
        if (sightings >= least) counts[label] = (counts[label] ?? 0) + 1;
      }
      return counts;
    },
  };
}
