import { expect, test } from 'vitest';
import { annotatedType, imageExtension, isImageMime, mimeOfName } from '../../../src/media/media-types.ts';

test('every picture type has an extension that leads back to it', () => {
  const mimes = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif', 'bmp']
    .map((name) => `image/${name}`)
    .filter(isImageMime);
  expect(mimes).toHaveLength(7);
  for (const mime of mimes) expect(mimeOfName(`x.${imageExtension(mime)}`)).toBe(mime);
});

test('names that the service never makes have no type', () => {
  expect(['x', 'x.html', 'jpg', 'x.jpg.exe', '.constructor'].map(mimeOfName)).toEqual(Array(5).fill(undefined));
  expect(['image/svg+xml', 'constructor', ''].map(isImageMime)).toEqual([false, false, false]);
});

test.each([
  ['image/png', 'image/png', 'png'],
  ['image/webp', 'image/webp', 'webp'],
  ['image/jpeg', 'image/jpeg', 'jpg'],
  ['image/gif', 'image/jpeg', 'jpg'],
  ['image/tiff', 'image/jpeg', 'jpg'],
  ['image/avif', 'image/jpeg', 'jpg'],
  ['image/bmp', 'image/jpeg', 'jpg'],
])('the annotated copy of %s is %s', (source, mime, extension) => {
  expect(annotatedType(source)).toEqual({ mime, extension });
});
