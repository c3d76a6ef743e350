import { existsSync, readFileSync } from 'node:fs';
import { sharedPath } from '../../support/shared.ts';

type Case = {
  file: string;
  endpoint: string;
  expect: 'accept' | 'reject' | 'either';
  error_code?: string[];
  at_upload?: boolean;
  reference?: { width: number; height: number };
};

export type BadPicture = Case & { path: string; head: Uint8Array; bytes: number };

/** The pictures of the collection of awkward inputs with what is expected of each; none where it is missing. */
export function badPictures(): BadPicture[] {
  const manifest = sharedPath('data/bad/manifest.json');
  if (!existsSync(manifest)) return [];
  const { cases } = JSON.parse(readFileSync(manifest, 'utf8')) as { cases: Case[] };
  return cases
    .filter((entry) => entry.endpoint === 'image')
    .map((entry) => {
      const path = sharedPath(`data/bad/${entry.file}`);
      const content = readFileSync(path);
      return { ...entry, path, head: content.subarray(0, 64 * 1024), bytes: content.length };
    });
}
