import { describe, expect, it } from 'vitest';
import { atLeast, atMost, median, missedTargets, percentile } from '../../../bench/report.ts';

describe('percentile', () => {
  it('lies between two neighbours by their distance', () => {
    // Places 0 to 3: a half is at 1.5, nine tenths at 2.7.
    expect(percentile([40, 10, 30, 20], 0.5)).toBe(25);
    expect(percentile([40, 10, 30, 20], 0.9)).toBeCloseTo(37, 12);
    expect(percentile([7], 0.99)).toBe(7);
  });

  it('is the middle one of an odd number and nothing of none', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([])).toBeNaN();
  });
});

describe('targets', () => {
  it('are met at the very value', () => {
    expect(atLeast(0.75, 0.75)).toEqual({ value: 0.75, at_least: 0.75, met: true });
    expect(atMost(8, 8)).toEqual({ value: 8, at_most: 8, met: true });
  });

  it('are judged before rounding', () => {
    expect(atLeast(0.7499, 0.75)).toEqual({ value: 0.75, at_least: 0.75, met: false });
    expect(atMost(50.001, 50)).toEqual({ value: 50, at_most: 50, met: false });
  });

  it('are missed by values that could not be measured', () => {
    expect(atLeast(Number.NaN, 1).met).toBe(false);
  });

  it('that are missed are named by their path', () => {
    const report = { a: { b: atMost(2, 1), c: atMost(1, 1) }, d: [atLeast(0, 1)], e: null, f: 3 };
    expect(missedTargets(report)).toEqual(['a.b', 'd.0']);
  });
});
