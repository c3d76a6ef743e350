import type { Ratio } from './video-header.ts';

/**
 * Which frames of a video are wanted: of those from `first` to `last` ticks after the first frame of all, each
 * `every`-th, beginning with the first. `undefined` stands for no bound.
 */
export type FrameSelection = { first: number | undefined; last: number | undefined; every: number };

export type FrameRange = {
  /** Every how many-th frame is wanted, 1 or more. */
  frameSkip: number;
  /** Seconds from the first frame; frames before it are left out. */
  startSeconds?: number | undefined;
  /** Seconds from the first frame; frames at it or after it are left out. */
  endSeconds?: number | undefined;
};

/** Times that clients know are rounded to milliseconds, so that one may lie this far behind the frame that it means. */
const ROUNDING_SECONDS = 0.0005;

/** @param timeBase seconds of a tick of the video's clock */
export function selectionOf({ frameSkip, startSeconds, endSeconds }: FrameRange, timeBase: Ratio): FrameSelection {
  const [numerator, denominator] = timeBase;
  const ticks = (seconds: number) => Math.ceil(((seconds - ROUNDING_SECONDS) * denominator) / numerator);
  return {
    first: startSeconds === undefined || startSeconds <= 0 ? undefined : ticks(startSeconds),
    last: endSeconds === undefined ? undefined : ticks(endSeconds) - 1,
    every: frameSkip,
  };
}

/** Bounds of what `between` is asked; farther away than any presentation time. */
const FAR = 2 ** 52;

/** The filters that leave only frames in the wanted time, then those that leave every so many-th of them. */
export function selectionFilters({ first, last, every }: FrameSelection): { range: string[]; step: string[] } {
  return {
    range:
      first === undefined && last === undefined
        ? []
        : [`select='between(pts-start_pts,${first ?? -FAR},${last ?? FAR})'`],
    step: every === 1 ? [] : [`select='not(mod(n,${every}))'`],
  };
}

/** Says again, frame by frame, what the filters of {@link selectionFilters} decide, with the same whole numbers. */
export function createSelector({ first, last, every }: FrameSelection) {
  const bounded = first !== undefined || last !== undefined;
  const from = first ?? -FAR;
  const to = last ?? FAR;
  let start = Number.NaN;
  let inRange = 0;
  return {
    /** Ticks after the first frame that has a presentation time; NaN for a frame that has none. */
    sinceStart(pts: number): number {
      if (Number.isNaN(start)) start = pts;
      return pts - start;
    },
    /** @param since what `sinceStart` gave for this frame; to be asked once for every frame in turn */
    takes(since: number): boolean {
      if (bounded && !(since >= from && since <= to)) return false;
      return inRange++ % every === 0;
    },
    isPast(since: number): boolean {
      return since > to;
    },
  };
}
