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

export function isImageMime(mime: string): mime is ImageMime {
  return Object.hasOwn(IMAGE_TYPES, mime);
}

/** Extension without a dot under which a picture of this type is stored. */
export function imageExtension(mime: ImageMime): string {
  return IMAGE_TYPES[mime];
}

/** Video containers that are taken, with the extension under which files are stored; GIF stands among the pictures. */
const VIDEO_TYPES = {
  'video/mp4': 'mp4',
  'video/quicktime': 'mov',
  'video/x-m4v': 'm4v',
  'video/3gpp': '3gp',
  'video/3gpp2': '3g2',
  'video/x-matroska': 'mkv',
  'video/webm': 'webm',
  'video/x-msvideo': 'avi',
  'video/x-flv': 'flv',
  'video/x-ms-wmv': 'wmv',
  'video/mp2t': 'ts',
  'video/mpeg': 'mpg',
} as const;

export type VideoMime = keyof typeof VIDEO_TYPES | 'image/gif';

const STORED_TYPES = { ...IMAGE_TYPES, ...VIDEO_TYPES };

/** Extension without a dot under which a video of this type is stored. */
export function videoExtension(mime: VideoMime): string {
  return STORED_TYPES[mime];
}

const MIME_BY_EXTENSION = new Map(
  (Object.keys(STORED_TYPES) as (ImageMime | VideoMime)[]).map((mime) => [`.${STORED_TYPES[mime]}`, mime]),
);

/** Media type to serve a stored file with, by the extension of its name; undefined for one that is never stored. */
export function mimeOfName(name: string): ImageMime | VideoMime | undefined {
  return MIME_BY_EXTENSION.get(extname(name));
}

/** Type of the annotated copy of a picture: PNG for PNG, WebP for WebP, else JPEG. */
export function annotatedType(mime: string): MediaType {
  const type = mime === 'image/png' || mime === 'image/webp' ? mime : 'image/jpeg';
  return { mime: type, extension: imageExtension(type) };
}
