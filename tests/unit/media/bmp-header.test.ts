import { expect, test } from 'vitest';
import { readBmpSize } from '../../../src/media/bmp-header.ts';
import { makeBmp } from './make-picture.ts';

const pixels = Array.from({ length: 15 }, (_, index): [number, number, number] => [index, 2 * index, 3 * index]);
const bmp = (infoHeaderBytes: number, topDown = false) =>
  makeBmp({ pixels, width: 5, height: 3, infoHeaderBytes, topDown }).subarray(0, 54);

function changed(change: (head: Buffer) => void): Buffer {
  const head = Buffer.from(bmp(40));
  change(head);
  return head;
}

test.each([12, 40, 56, 64, 108, 124])('reads the size from a header of %i bytes', (infoHeaderBytes) => {
  expect(readBmpSize(bmp(infoHeaderBytes))).toEqual({ width: 5, height: 3 });
});

test('a picture stored from the top has the same height', () => {
  expect(readBmpSize(bmp(40, true))).toEqual({ width: 5, height: 3 });
});

test('a view into a larger buffer is read at its own place', () => {
  const around = Buffer.concat([Buffer.alloc(7, 0xff), bmp(40)]);
  expect(readBmpSize(around.subarray(7))).toEqual({ width: 5, height: 3 });
});

test.each([
  ['cut off after the magic number', Buffer.from('BM')],
  ['cut off in the info header', bmp(40).subarray(0, 30)],
  ['no width', changed((head) => head.writeInt32LE(0, 18))],
  ['a negative width', changed((head) => head.writeInt32LE(-5, 18))],
  ['no height', changed((head) => head.writeInt32LE(0, 22))],
  ['an unknown header length', changed((head) => head.writeUInt32LE(41, 14))],
  ['a header that ffmpeg does not decode', changed((head) => head.writeUInt32LE(52, 14))],
  ['seven bits a pixel', changed((head) => head.writeUInt16LE(7, 28))],
  ['a PNG inside', changed((head) => head.writeUInt32LE(5, 30))],
])('refuses %s', (_, head) => {
  expect(() => readBmpSize(head)).toThrow(expect.objectContaining({ code: 'UNREADABLE_MEDIA' }));
});
