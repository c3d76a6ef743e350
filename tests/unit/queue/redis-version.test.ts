import { expect, it } from 'vitest';
import { isTooOld } from '../../../src/queue/redis-version.ts';

it.each([
  ['2.8.24', true],
  ['5.0.14', true],
  ['6.0.5', true],
  ['6.0.6', false],
  ['6.0.16', false],
  ['6.2.0', false],
  ['7.0.15', false],
  ['10.0.0', false],
  ['255.255.255', false],
])('Redis %s is too old: %s', (version, old) => {
  expect(isTooOld(version)).toBe(old);
});
