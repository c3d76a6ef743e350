import { expect, test } from 'vitest';
import { readTrail } from '../../../src/queue/attempts.ts';

test('lines are read in their order, others passed over', () => {
  const text = 'b 1000 object_worker_1\ne 2000 given back to the queue\nnonsense\nb x y\n\nb 3000 object_worker_2\n';
  expect(readTrail(text)).toEqual([
    { what: 'begun', at: 1000, worker: 'object_worker_1' },
    { what: 'ended', at: 2000, how: 'given back to the queue' },
    { what: 'begun', at: 3000, worker: 'object_worker_2' },
  ]);
  expect(readTrail('')).toEqual([]);
});
