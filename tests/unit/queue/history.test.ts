import { expect, test } from 'vitest';
import { totalsOf } from '../../../src/queue/history.ts';

test('minutes add up, the most that waited stands for all of them', () => {
  const totals = totalsOf([{ s: '3', f: '1', d: '5' }, {}, { s: '2', c: '4', t: '1', d: '2' }]);
  expect(totals).toMatchObject({ succeeded: 5, failed: 1, revoked: 4, retried: 1, waiting: 5 });
  expect(totalsOf([{}]).waiting).toBeNull();
});

test('percentiles lie within the bucket that holds them', () => {
  // Ninety between 0.05 and 0.075 s, nine between 1 and 1.5 s, one between 60 and 120 s.
  const { run } = totalsOf([
    { r4: '60', r12: '9' },
    { r4: '30', r21: '1' },
  ]);
  expect(run.p50).toBeGreaterThan(0.05);
  expect(run.p50).toBeLessThanOrEqual(0.075);
  expect(run.p95).toBeGreaterThan(1);
  expect(run.p95).toBeLessThanOrEqual(1.5);
  expect(run.p99).toBe(1.5);
});

test('nothing that ended has no percentiles; what is slower than any bound has the last', () => {
  expect(totalsOf([{ s: '1' }]).wait).toEqual({ p50: null, p95: null, p99: null });
  expect(totalsOf([{ w26: '4' }]).wait.p50).toBe(3600);
});
