import { readFileSync } from 'node:fs';
import { sharedPath } from './shared.ts';

/** A file of ../shared/data as the body of a request. */
export function sharedFile(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(sharedPath(`data/${path}`)));
}

/** One face and one person in 320 x 280 pixels; where they are says the manifest of ../shared/data/bad. */
export const goodPicture = () => sharedFile('bad/image/good.jpg');
export const GOOD_SIZE = { width: 320, height: 280 };
export const GOOD_FACE = { x: 104, y: 65, width: 56, height: 70 };
export const GOOD_PERSON = { x: 17, y: 49, width: 275, height: 233 };
