import { readFileSync } from 'node:fs';
import { BAD_PICTURES, type BadPicture } from '../../support/bad-files.ts';
import { sharedPath } from '../../support/shared.ts';

/** The awkward pictures with their content's first bytes, as an upload has them. */
export function badPictures(): (BadPicture & { path: string; head: Uint8Array; bytes: number })[] {
  return BAD_PICTURES.map((entry) => {
    const path = sharedPath(`data/bad/${entry.file}`);
    const content = readFileSync(path);
    return { ...entry, path, head: content.subarray(0, 64 * 1024), bytes: content.length };
  });
}
