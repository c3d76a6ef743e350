import { expect, it } from 'vitest';
import { type Schedule, scheduledMinimum } from '../../../src/autoscale/schedule.ts';

const WEEKDAYS: Schedule['days'] = ['mon', 'tue', 'wed', 'thu', 'fri'];
const SEED: Schedule[] = [
  { days: WEEKDAYS, from: '09:00', to: '17:00', min: 10 },
  { days: WEEKDAYS, from: '17:00', to: '09:00', min: 2 },
  { days: ['sat', 'sun'], from: '00:00', to: '24:00', min: 1 },
];

const at = (time: string, zone = 'UTC') => scheduledMinimum(SEED, zone, Date.parse(time));

// 2026-01-05 is a Monday.
it.each([
  ['2026-01-05T00:00:00Z', 2],
  ['2026-01-05T08:59:59Z', 2],
  ['2026-01-05T09:00:00Z', 10],
  ['2026-01-05T16:59:59Z', 10],
  ['2026-01-05T17:00:00Z', 2],
  ['2026-01-09T23:59:59Z', 2],
  ['2026-01-10T00:00:00Z', 1],
  ['2026-01-11T23:59:59Z', 1],
  ['2026-01-12T00:00:00Z', 2],
])('%s asks for %i', (time, minimum) => {
  expect(at(time)).toBe(minimum);
});

it('goes by the clock on the wall, before and after daylight saving begins and ends', () => {
  // In Berlin 09:00 is 08:00 UTC in winter and 07:00 UTC in summer; the clocks change on 29 March and 25 October 2026.
  expect(at('2026-03-27T07:59:00Z', 'Europe/Berlin')).toBe(2);
  expect(at('2026-03-27T08:00:00Z', 'Europe/Berlin')).toBe(10);
  expect(at('2026-03-30T06:59:00Z', 'Europe/Berlin')).toBe(2);
  expect(at('2026-03-30T07:00:00Z', 'Europe/Berlin')).toBe(10);
  expect(at('2026-03-30T15:00:00Z', 'Europe/Berlin')).toBe(2);
  expect(at('2026-10-26T07:59:00Z', 'Europe/Berlin')).toBe(2);
  expect(at('2026-10-26T08:00:00Z', 'Europe/Berlin')).toBe(10);
  // Monday there is still Sunday, or already Tuesday, elsewhere.
  expect(at('2026-01-05T03:00:00Z', 'America/New_York')).toBe(1);
  expect(at('2026-01-09T23:30:00Z', 'Asia/Tokyo')).toBe(1);
});

it('takes the highest of several, and 0 where none holds', () => {
  const overlap: Schedule[] = [...SEED, { days: ['mon'], from: '12:00', to: '13:00', min: 12 }];
  expect(scheduledMinimum(overlap, 'UTC', Date.parse('2026-01-05T12:30:00Z'))).toBe(12);
  expect(scheduledMinimum(SEED.slice(0, 1), 'UTC', Date.parse('2026-01-05T18:00:00Z'))).toBe(0);
  expect(scheduledMinimum([], 'UTC', 0)).toBe(0);
});
