import { expect, it } from 'vitest';
import { readByteRange } from '../../../src/http/byte-range.ts';

it.each([
  ['bytes=0-0', { from: 0, to: 1 }],
  ['bytes=10-19', { from: 10, to: 20 }],
  ['bytes=90-', { from: 90, to: 100 }],
  ['bytes=90-1000', { from: 90, to: 100 }],
  ['bytes=-10', { from: 90, to: 100 }],
  ['bytes=-1000', { from: 0, to: 100 }],
  ['BYTES = 1-2', { from: 1, to: 3 }],
])('%s of a hundred bytes is a part', (header, part) => {
  expect(readByteRange(header, 100)).toEqual(part);
});

it.each(['bytes=100-', 'bytes=100-200', 'bytes=-0'])('%s of a hundred bytes is none', (header) => {
  expect(readByteRange(header, 100)).toBeNull();
});

it.each([undefined, '', 'bytes=-', 'bytes=5-2', 'bytes=0-1,5-6', 'items=9-1', 'bytes=a-b', 'bytes=1'])(
  '%s asks for the whole',
  (header) => {
    expect(readByteRange(header, 100)).toBeUndefined();
  },
);

it('an empty file has no parts', () => {
  expect(readByteRange('bytes=0-', 0)).toBeNull();
  expect(readByteRange('bytes=-5', 0)).toBeNull();
});
