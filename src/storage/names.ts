import { randomBytes } from 'node:crypto';

/** Every stored file is `<32 hex digits>[_<role>].<extension>`: 128 random bits, made here and nowhere else. */
const NAME = /^([0-9a-f]{32})(?:_(annotated|detections))?\.([a-z0-9]{2,6})$/;

export type StoredName = { base: string; role: 'original' | 'annotated' | 'detections'; extension: string };

/** The common part of the names of one task's files. */
export function newBase(): string {
  return randomBytes(16).toString('hex');
}

/** Name of an upload. */
export function originalName(base: string, extension: string): string {
  return `${base}.${extension}`;
}

/** Name of the copy with the boxes drawn in. */
export function annotatedName(base: string, extension: string): string {
  return `${base}_annotated.${extension}`;
}

/** All frames of a video with detections: one JSON document, or a line each. */
export function detectionsName(base: string, extension: 'json' | 'ndjson'): string {
  return `${base}_detections.${extension}`;
}

/** Every name that a file made from an original may have. */
export function derivedNames(base: string): string[] {
  return [
    ...['jpg', 'png', 'webp', 'mp4'].map((extension) => annotatedName(base, extension)),
    ...(['json', 'ndjson'] as const).map((extension) => detectionsName(base, extension)),
  ];
}

/** Where the sync mode keeps the result that an annotated copy is drawn from; never served. */
export function sidecarName(base: string): string {
  return `${base}.json`;
}

/** Ending of encrypted files. What was stored before there was a key has none and stays readable. */
const SEALED_ENDING = '.sealed';

/** Under what the store keeps a file. */
export function keyOf(name: string, sealed: boolean): string {
  return sealed ? `${name}${SEALED_ENDING}` : name;
}

/** The name of the file that the store keeps under a key. */
export function nameOfKey(key: string): string {
  return key.endsWith(SEALED_ENDING) ? key.slice(0, -SEALED_ENDING.length) : key;
}

/** Undefined for a name that this service cannot have made. */
export function parseName(name: string): StoredName | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  return {
    base: match[1] ?? '',
    role: (match[2] as StoredName['role'] | undefined) ?? 'original',
    extension: match[3] ?? '',
  };
}

/** The URL path under which a stored file is served. */
export function urlOf(name: string): string {
  return `/api/uploads/${name}`;
}
