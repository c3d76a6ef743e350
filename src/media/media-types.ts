import { extname } from 'node:path';

/** What is known of a media type besides its name. */
export type MediaType = { mime: string; extension: string };

/** Picture formats that are taken, with the extension under which files are stored. */
const IMAGE_TYPES = {
  'image/jpeg': 'jpg',
  'image/png': 'png',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/tiff': 'tiff',
  'image/avif': 'avif',
  'image/bmp': 'bmp',
} as const;

export type ImageMime = keyof typeof IMAGE_TYPES;

export const IMAGE_MIMES = Object.keys(IMAGE_TYPES) as ImageMime[];

export function isImageMime(mime: string): mime is ImageMime {
  return Object.hasOwn(IMAGE_TYPES, mime);
}

/** Extension without a dot under which a picture of this type is stored. */
export function imageExtension(mime: ImageMime): string {
  return IMAGE_TYPES[mime];
}

/** Media type to serve a stored file with, by the extension of its name; undefined for one that is never stored. */
export function mimeOfName(name: string): ImageMime | undefined {
  const extension = extname(name);
  return IMAGE_MIMES.find((mime) => `.${IMAGE_TYPES[mime]}` === extension);
}

/** Type of the annotated copy of a picture: PNG for PNG, WebP for WebP, else JPEG. */
export function annotatedType(mime: string): MediaType {
  const type = mime === 'image/png' || mime === 'image/webp' ? mime : 'image/jpeg';
  return { mime: type, extension: imageExtension(type) };
}
