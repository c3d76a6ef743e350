import { expect, it } from 'vitest';
import { queuePriority } from '../../../src/contract/options.ts';

it.each([
  [9, false, 1],
  [9, true, 2],
  [8, false, 3],
  [5, false, 9],
  [5, true, 10],
  [0, false, 19],
  [0, true, 20],
])('priority %i, video %s stands at %i in the queue', (priority, video, expected) => {
  expect(queuePriority(priority, video)).toBe(expected);
});
