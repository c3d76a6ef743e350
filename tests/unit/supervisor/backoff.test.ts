import { expect, it } from 'vitest';
import { createBackoff } from '../../../src/supervisor/backoff.ts';

it('doubles from half a second to thirty', () => {
  const backoff = createBackoff();
  expect(Array.from({ length: 9 }, () => backoff.nextDelayMs(100))).toEqual([
    500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
  ]);
});

it('begins anew after a life of a minute', () => {
  const backoff = createBackoff();
  backoff.nextDelayMs(0);
  backoff.nextDelayMs(59_999);
  expect(backoff.nextDelayMs(60_000)).toBe(500);
  expect(backoff.nextDelayMs(0)).toBe(1000);
});
