import { expect, test } from 'vitest';
import { imageMimeOf } from '../../../src/media/image-signature.ts';

const bytes = (...parts: (string | number[])[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1')));

function fileTypeBox(major: string, ...compatible: string[]): Buffer {
  const brands = [major, '\0\0\0\0', ...compatible].join('');
  return bytes([0, 0, 0, 8 + brands.length], 'ftyp', brands, [0, 0, 0, 8], 'mdat');
}

test.each([
  ['JPEG', bytes([0xff, 0xd8, 0xff, 0xe0]), 'image/jpeg'],
  ['PNG', bytes([0x89], 'PNG\r\n', [0x1a], '\n'), 'image/png'],
  ['GIF 87a', bytes('GIF87a', [1, 0, 1, 0]), 'image/gif'],
  ['GIF 89a', bytes('GIF89a', [1, 0, 1, 0]), 'image/gif'],
  ['WebP', bytes('RIFF', [9, 9, 9, 9], 'WEBPVP8 '), 'image/webp'],
  ['TIFF, Intel', bytes('II', [42, 0]), 'image/tiff'],
  ['TIFF, Motorola', bytes('MM', [0, 42]), 'image/tiff'],
  ['BigTIFF', bytes('II', [43, 0]), 'image/tiff'],
  ['BMP', bytes('BM', Array(12).fill(0), [40, 0, 0, 0]), 'image/bmp'],
  ['BMP cut off', bytes('BM', [1, 2]), 'image/bmp'],
  ['AVIF', fileTypeBox('avif', 'mif1', 'miaf'), 'image/avif'],
  ['AVIF sequence', fileTypeBox('avis', 'avif'), 'image/avif'],
  ['AVIF as compatible brand', fileTypeBox('mif1', 'miaf', 'avif'), 'image/avif'],
])('%s is known by its first bytes', (_, head, mime) => {
  expect(imageMimeOf(head)).toBe(mime);
});

test.each([
  ['nothing', bytes('')],
  ['half of a magic number', bytes([0xff, 0xd8])],
  ['a PNG with its line ends mangled', bytes([0x89], 'PNG\n', [0x1a], '\n')],
  ['HEIC', fileTypeBox('heic', 'mif1', 'heic')],
  ['MP4', fileTypeBox('isom', 'iso2', 'avc1', 'mp41')],
  ['a brand after the file type box', Buffer.concat([fileTypeBox('isom'), bytes('avif')])],
  ['WAV', bytes('RIFF', [9, 9, 9, 9], 'WAVEfmt ')],
  ['text that begins with BM', bytes('BMW builds cars and motorcycles.')],
  ['text that begins with II', bytes('II. Chapter')],
  ['SVG', bytes('<svg xmlns="http://www.w3.org/2000/svg"/>')],
  ['ICO', bytes([0, 0, 1, 0, 1, 0])],
  ['JPEG XL', bytes([0xff, 0x0a])],
  ['PDF', bytes('%PDF-1.7')],
])('%s is no picture to be taken', (_, head) => {
  expect(imageMimeOf(head)).toBeUndefined();
});
