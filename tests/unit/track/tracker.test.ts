import { describe, expect, it } from 'vitest';
import { assign } from '../../../src/track/assignment.ts';
import { createTracker } from '../../../src/track/tracker.ts';

function everyAssignment(columns: number, rows: number): number[][] {
  if (rows === 0) return [[]];
  return everyAssignment(columns, rows - 1).flatMap((rest) =>
    Array.from({ length: columns }, (_, column) => column)
      .filter((column) => !rest.includes(column))
      .map((column) => [...rest, column]),
  );
}

const costOf = (cost: number[][], columns: number[]) =>
  columns.reduce((sum, column, row) => sum + (cost[row]?.[column] ?? 0), 0);

/** Park and Miller's generator: the same numbers in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('assign', () => {
  it('costs no more than any other assignment', () => {
    const next = random(7);
    for (let round = 0; round < 60; round++) {
      const rows = 1 + Math.floor(next() * 5);
      const columns = rows + Math.floor(next() * 3);
      const cost = Array.from({ length: rows }, () => Array.from({ length: columns }, () => Math.round(next() * 100)));
      const best = Math.min(...everyAssignment(columns, rows).map((candidate) => costOf(cost, candidate)));
      const found = assign(cost);
      expect(new Set(found).size).toBe(rows);
      expect(costOf(cost, found)).toBe(best);
    }
  });

  it('leaves rows over where there are more rows than columns', () => {
    expect(assign([[5], [1], [3]])).toEqual([-1, 0, -1]);
    expect(assign([])).toEqual([]);
    expect(assign([[], []])).toEqual([-1, -1]);
  });
});

const box = (x: number, y: number, size = 40, label = 'person') => ({ x, y, width: size, height: size, label });

describe('createTracker', () => {
  it('keeps the ids of two people who cross each other in different rows', () => {
    const tracker = createTracker();
    const ids = Array.from({ length: 20 }, (_, i) => tracker.update([box(10 * i, 0), box(190 - 10 * i, 60)], i / 10));
    for (const pair of ids) expect(pair).toEqual([1, 2]);
    expect(tracker.unique()).toEqual({ person: 2 });
  });

  it('keeps the ids of two people who meet head-on in one row, by their speed', () => {
    const tracker = createTracker();
    const seen: number[][] = [];
    for (let i = 0; i < 21; i++) seen.push(tracker.update([box(15 * i, 0), box(300 - 15 * i, 4)], i / 10));
    expect(seen.at(-1)).toEqual(seen[0]);
  });

  it('follows a thing that moves further than its own size between analysed frames', () => {
    const tracker = createTracker();
    const ids = Array.from({ length: 8 }, (_, i) => tracker.update([box(50 * i, 0)], i / 2)[0]);
    expect(new Set(ids)).toEqual(new Set([1]));
  });

  it('bridges a short absence and counts anew after a long one', () => {
    const tracker = createTracker();
    tracker.update([box(0, 0)], 0);
    tracker.update([box(0, 0)], 0.5);
    tracker.update([], 1);
    expect(tracker.update([box(4, 0)], 1.5)).toEqual([1]);
    for (let seconds = 2; seconds < 6; seconds += 0.5) tracker.update([], seconds);
    expect(tracker.update([box(4, 0)], 6)).toEqual([2]);
    tracker.update([box(4, 0)], 6.5);
    expect(tracker.unique()).toEqual({ person: 2 });
  });

  it('never joins different labels and does not count what flickers up once', () => {
    const tracker = createTracker();
    tracker.update([box(0, 0, 40, 'dog')], 0);
    expect(tracker.update([box(0, 0, 40, 'cat'), box(0, 0, 40, 'dog')], 0.1)).toEqual([2, 1]);
    tracker.update([box(0, 0, 40, 'dog')], 0.2);
    expect(tracker.unique()).toEqual({ dog: 1 });
  });

  it('counts what it sees where only one frame was analysed', () => {
    const tracker = createTracker();
    expect(tracker.update([box(0, 0), box(200, 0)], 0)).toEqual([1, 2]);
    expect(tracker.unique()).toEqual({ person: 2 });
  });
});
