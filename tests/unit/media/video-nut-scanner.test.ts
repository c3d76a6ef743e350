import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createNutScanner } from '../../../src/media/nut-scanner.ts';
import { tempDir } from '../../support/temp.ts';

function ffmpeg(...args: string[]): Buffer {
  return execFileSync('ffmpeg', ['-v', 'error', '-nostdin', ...args], { maxBuffer: 2 ** 28 });
}

/** The pictures that the scanner finds in a stream that comes in pieces of `size` bytes. */
function picturesIn(stream: Uint8Array, size: number, pictureBytes: number): Uint8Array[] {
  const scanner = createNutScanner();
  const pictures: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) {
    const chunk = stream.subarray(at, at + size);
    for (const { frame, offset, from, to } of scanner.scan(chunk)) {
      pictures[frame] ??= new Uint8Array(pictureBytes);
      pictures[frame].set(chunk.subarray(from, to), offset);
    }
  }
  expect(scanner.frames()).toBe(pictures.length);
  return pictures;
}

const TO_NUT = ['-c:v', 'rawvideo', '-pix_fmt', 'yuv420p', '-f', 'nut', 'pipe:1'];
const TO_RAW = ['-map', '0:v', '-c:v', 'rawvideo', '-pix_fmt', 'yuv420p', '-f', 'rawvideo', 'pipe:1'];

describe('finds the pictures that ffmpeg wrote', () => {
  test.each([
    ['small ones', '64x48', ['-t', '1'], []],
    ['tiny ones', '16x16', ['-t', '2'], []],
    ['large ones', '640x360', ['-t', '0.5'], []],
    ['with sound between them', '320x240', ['-t', '1'], ['-f', 'lavfi', '-i', 'sine=440', '-c:a', 'aac']],
    ['with samples between them', '128x96', ['-t', '1'], ['-f', 'lavfi', '-i', 'sine=440', '-c:a', 'pcm_s16le']],
  ])('%s', (_, size, length, sound) => {
    const source = ['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=25`];
    const stream = ffmpeg(...source, ...sound, ...length, ...TO_NUT);
    const raw = ffmpeg(...source, ...length, ...TO_RAW);
    const [width = 0, height = 0] = size.split('x').map(Number);
    const bytes = (width * height * 3) / 2;
    for (const piece of [997, 65536, stream.length]) {
      const pictures = picturesIn(stream, piece, bytes);
      expect(pictures.length).toBe(raw.length / bytes);
      expect(Buffer.compare(Buffer.concat(pictures), raw)).toBe(0);
    }
  });

  test('byte by byte', () => {
    const source = ['-f', 'lavfi', '-i', 'testsrc2=size=32x32:rate=25', '-t', '0.4'];
    const pictures = picturesIn(ffmpeg(...source, ...TO_NUT), 1, 1536);
    expect(Buffer.compare(Buffer.concat(pictures), ffmpeg(...source, ...TO_RAW))).toBe(0);
  });

  test('with beginnings that NUT leaves out as known', () => {
    const raw = new Uint8Array(3 * 1536).fill(77);
    for (let frame = 0; frame < 3; frame++) raw.set([0, 0, 1], frame * 1536);
    const file = join(tempDir(), 'elided.yuv');
    writeFileSync(file, raw);
    const stream = ffmpeg('-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-s', '32x32', '-i', file, ...TO_NUT);
    const pictures = picturesIn(stream, 100, 1536);
    expect(pictures).toHaveLength(3);
    // The three bytes themselves are not in the stream.
    for (const picture of pictures) expect(picture.subarray(3)).toEqual(raw.subarray(3, 1536));
  });
});

test('anything else is refused', () => {
  expect(() => [...createNutScanner().scan(Buffer.from('a text that is long enough to be no NUT'))]).toThrow('not NUT');
});
