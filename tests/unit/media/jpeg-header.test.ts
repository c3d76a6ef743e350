import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { readJpegSize } from '../../../src/media/jpeg-header.ts';

const SOF0 = 0xffc0;
const SOS = 0xffda;

let plain: Buffer;

beforeAll(async () => {
  plain = await sharp({ create: { width: 37, height: 21, channels: 3, background: '#a33' } })
    .jpeg()
    .toBuffer();
});

/** Where a marker stands. */
function placeOf(marker: number, content = plain): number {
  const at = content.indexOf(Buffer.from([marker >> 8, marker & 255]));
  if (at === -1) throw new Error('There is no such marker.');
  return at;
}

function changed(at: number, ...bytes: number[]): Buffer {
  const copy = Buffer.from(plain);
  copy.set(bytes, at);
  return copy;
}

function inserted(at: number, bytes: Buffer): Buffer {
  return Buffer.concat([plain.subarray(0, at), bytes, plain.subarray(at)]);
}

function segment(marker: number, content: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(marker, 0);
  head.writeUInt16BE(content.length + 2, 2);
  return Buffer.concat([head, content]);
}

describe('sizes that the first bytes tell', () => {
  it('of plain, grey, CMYK and progressive ones', async () => {
    const picture = () => sharp({ create: { width: 300, height: 200, channels: 3, background: '#123' } });
    const made = await Promise.all([
      picture().jpeg().toBuffer(),
      picture().greyscale().jpeg().toBuffer(),
      picture().toColourspace('cmyk').jpeg().toBuffer(),
      picture().jpeg({ progressive: true }).toBuffer(),
      picture().withIccProfile('p3').jpeg().toBuffer(),
    ]);
    for (const content of made) expect(readJpegSize(content)).toEqual({ width: 300, height: 200 });
  });

  it('of one that is cut off in its scan, which is for the decoder to tell', () => {
    expect(readJpegSize(plain.subarray(0, placeOf(SOS) + 40))).toEqual({ width: 37, height: 21 });
  });

  it('of one with comments and segments of applications', () => {
    const content = inserted(
      placeOf(SOF0),
      Buffer.concat([segment(0xfffe, Buffer.from('x')), segment(0xffe5, Buffer.alloc(9))]),
    );
    expect(readJpegSize(content)).toEqual({ width: 37, height: 21 });
  });
});

describe('left to a decoder', () => {
  const cases: [string, () => Uint8Array][] = [
    ['nothing', () => Buffer.alloc(0)],
    ['a signature alone', () => Buffer.from([0xff, 0xd8])],
    ['another type', () => Buffer.from('GIF89a, and what else there is')],
    ['one that ends before its scan', () => plain.subarray(0, placeOf(SOS) + 3)],
    ['one that ends in its frame header', () => plain.subarray(0, placeOf(SOF0) + 9)],
    ['garbage behind the frame header', () => inserted(placeOf(SOF0) + 19, Buffer.from('garbage'))],
    ['two frame headers', () => inserted(placeOf(SOF0), plain.subarray(placeOf(SOF0), placeOf(SOF0) + 19))],
    ['a scan before the frame', () => changed(placeOf(SOF0), 0xff, 0xda)],
    ['lossless coding', () => changed(placeOf(SOF0), 0xff, 0xc3)],
    ['12 bits', () => changed(placeOf(SOF0) + 4, 12)],
    ['no components', () => changed(placeOf(SOF0) + 9, 0)],
    ['a sampling factor of 0', () => changed(placeOf(SOF0) + 11, 0)],
    ['no height, which comes with the scan then', () => changed(placeOf(SOF0) + 5, 0, 0)],
    ['more columns than libjpeg takes', () => changed(placeOf(SOF0) + 7, 0xff, 0xff)],
    ['a quantization table that is no such', () => changed(placeOf(0xffdb) + 4, 0x24)],
    ['a Huffman table of too many codes', () => changed(placeOf(0xffc4) + 5, 255, 255)],
    ['a segment without length', () => inserted(2, Buffer.from([0xff, 0xe0, 0, 1]))],
    ['EXIF', () => inserted(2, segment(0xffe1, Buffer.from('Exif\0\0MM and so on')))],
    ['EXIF behind the frame header', () => inserted(placeOf(SOS), segment(0xffe1, Buffer.from('Exif\0\0II')))],
  ];

  it.each(cases)('%s', (_what, make) => {
    expect(readJpegSize(make())).toBeUndefined();
  });
});
