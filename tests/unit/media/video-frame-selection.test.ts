import { describe, expect, test } from 'vitest';
import { createSelector, selectionFilters, selectionOf } from '../../../src/media/frame-selection.ts';

/** Numbers of the frames that are taken out of frames with these presentation times. */
function taken(
  times: readonly number[],
  range: Parameters<typeof selectionOf>[0],
  timeBase: readonly [number, number],
) {
  const selector = createSelector(selectionOf(range, timeBase));
  return times.flatMap((pts, index) => (selector.takes(selector.sinceStart(pts)) ? [index] : []));
}

const regular = Array.from({ length: 30 }, (_, n) => 1000 + n * 512);
const TICK = [1, 15360] as const;

describe('which frames are taken', () => {
  test.each([
    ['all of them', { frameSkip: 1 }, Array.from({ length: 30 }, (_, n) => n)],
    ['each fifth from the first', { frameSkip: 5 }, [0, 5, 10, 15, 20, 25]],
    ['the first alone', { frameSkip: 1e9 }, [0]],
    ['each third from the first in range', { frameSkip: 3, startSeconds: 0.5 }, [15, 18, 21, 24, 27]],
    ['none at the end or after it', { frameSkip: 1, endSeconds: 0.1 }, [0, 1, 2]],
    ['a range', { frameSkip: 2, startSeconds: 0.2, endSeconds: 0.4 }, [6, 8, 10]],
    ['a start between two frames', { frameSkip: 1, startSeconds: 0.91 }, [28, 29]],
    ['a start as it was told, rounded', { frameSkip: 1, startSeconds: 0.967 }, [29]],
    ['a start before the file', { frameSkip: 10, startSeconds: -3 }, [0, 10, 20]],
    ['nothing behind the end of the file', { frameSkip: 1, startSeconds: 1 }, []],
    ['nothing in an empty range', { frameSkip: 1, startSeconds: 0.5, endSeconds: 0.5 }, []],
  ])('%s', (_, range, expected) => {
    expect(taken(regular, range, TICK)).toEqual(expected);
  });

  test('times count from the first frame, whatever ticks it starts with', () => {
    const shifted = regular.map((pts) => pts + 90_000_000);
    expect(taken(shifted, { frameSkip: 2, startSeconds: 0.2, endSeconds: 0.4 }, TICK)).toEqual([6, 8, 10]);
  });

  test('variable frame rates are told apart by time', () => {
    expect(
      taken([0, 40, 500, 1000, 1001, 2000], { frameSkip: 1, startSeconds: 0.5, endSeconds: 1.001 }, [1, 1000]),
    ).toEqual([2, 3]);
  });

  test('a frame without a time is in no range, and counts where there is none', () => {
    const times = [0, Number.NaN, 2, 3];
    expect(taken(times, { frameSkip: 2 }, [1, 1])).toEqual([0, 2]);
    expect(taken(times, { frameSkip: 1, startSeconds: 0.1 }, [1, 1])).toEqual([2, 3]);
  });

  test('it is known when nothing more can follow', () => {
    const selector = createSelector(selectionOf({ frameSkip: 1, endSeconds: 0.1 }, TICK));
    expect(regular.slice(0, 5).map((pts) => selector.isPast(selector.sinceStart(pts)))).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(createSelector(selectionOf({ frameSkip: 1 }, TICK)).isPast(1e15)).toBe(false);
  });
});

test('the filters say the same in ticks', () => {
  expect(selectionFilters(selectionOf({ frameSkip: 1 }, TICK))).toEqual({ range: [], step: [] });
  expect(selectionFilters(selectionOf({ frameSkip: 5, startSeconds: 1, endSeconds: 2 }, TICK))).toEqual({
    range: ["select='between(pts-start_pts,15353,30712)'"],
    step: ["select='not(mod(n,5))'"],
  });
});
