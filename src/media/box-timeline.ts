import type { BoxToDraw } from './boxes-to-draw.ts';

/** A box to draw; boxes of one track are the same thing in different frames. */
export type TrackedBox = BoxToDraw & { trackId?: number | undefined };

/** What was found in an analysed frame, whose number counts from 0 in the whole file. */
export type FrameBoxes = { index: number; boxes: readonly TrackedBox[] };

/**
 * Says which boxes each frame of a video shows, given those of the analysed frames while they become known: a box stays
 * until the next analysed frame, and moves there in a straight line where the same track is in both.
 *
 * @param every how many frames an analysed frame stands for at most
 */
export function createBoxTimeline(every: number) {
  const coming: FrameBoxes[] = [];
  let current: FrameBoxes | undefined;
  let next: FrameBoxes | undefined;
  let complete = false;
  let reached = 0;
  let wake: (() => void) | undefined;

  /** Moves on to the analysed frame that `index` belongs to; false where that is not known yet. */
  function moveTo(index: number): boolean {
    for (;;) {
      next ??= coming.shift();
      if (next === undefined) return complete;
      if (next.index > index) return true;
      current = next;
      next = undefined;
      reached++;
    }
  }

  return {
    /** Adds an analysed frame, which comes after all those added before. */
    add(frame: FrameBoxes): void {
      coming.push(frame);
      wake?.();
    },
    /** Says that no analysed frame follows. */
    end(): void {
      complete = true;
      wake?.();
    },
    /** How many analysed frames the frames so far have reached. */
    reached: () => reached,
    /** Waits until the boxes of a frame are known; to be asked in the order of the frames. */
    async reach(index: number): Promise<void> {
      while (!moveTo(index)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    /** The boxes of the frame that was reached; the same array as before where nothing has changed. */
    boxesAt(index: number): readonly TrackedBox[] {
      if (current === undefined || index >= current.index + every) return NONE;
      if (next === undefined || next.index > current.index + every) return current.boxes;
      const share = (index - current.index) / (next.index - current.index);
      return share === 0 ? current.boxes : moveBoxes(current.boxes, next.boxes, share);
    },
  };
}

const NONE: readonly TrackedBox[] = [];

function moveBoxes(from: readonly TrackedBox[], to: readonly TrackedBox[], share: number): readonly TrackedBox[] {
  const between = (start: number, end: number) => Math.round(start + (end - start) * share);
  let moved = false;
  const boxes = from.map((box) => {
    const goal = box.trackId === undefined ? undefined : to.find(({ trackId }) => trackId === box.trackId);
    if (goal === undefined) return box;
    moved = true;
    const { x, y, width, height } = box.bbox;
    const left = between(x, goal.bbox.x);
    const top = between(y, goal.bbox.y);
    const bbox = {
      x: left,
      y: top,
      width: between(x + width, goal.bbox.x + goal.bbox.width) - left,
      height: between(y + height, goal.bbox.y + goal.bbox.height) - top,
    };
    const points = box.points?.map((point, index) => {
      const end = goal.points?.[index] ?? point;
      return { x: between(point.x, end.x), y: between(point.y, end.y) };
    });
    return { ...box, bbox, ...(points === undefined ? {} : { points }) };
  });
  return moved ? boxes : from;
}
