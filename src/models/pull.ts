import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../make-folder.ts';
import type { ModelEntry } from './manifest.ts';
import { copyFrom, download, isPart, sumOf, TRANSFER_TIMEOUTS, TransferError } from './transfer.ts';

/** Where OpenCV's cascades lie when the system has them: Debian and Ubuntu, from source, Homebrew. */
export const CASCADE_DIRS = [
  '/usr/share/opencv4/haarcascades',
  '/usr/share/opencv/haarcascades',
  '/usr/local/share/opencv4/haarcascades',
  '/opt/homebrew/share/opencv4/haarcascades',
];

export type PullPlaces = {
  /** Folders or base URLs, in the order to try. */
  mirrors: readonly string[];
  /** Folders to look into after the mirrors. */
  siblings: readonly string[];
  /** Folders to look into for cascades. */
  cascadeDirs: readonly string[];
};

export type Attempt = {
  /** Path or URL, without a password. */
  where: string;
  /** What was wrong with it, to be read after `where`. */
  why: string;
};

export type PullOutcome = { attempts: Attempt[] } & (
  | { state: 'present' }
  | { state: 'pulled'; from: string }
  | { state: 'failed' }
);

export type FileState = 'ok' | 'missing' | 'wrong size' | 'wrong sum';

/** Compares a model's file with what the manifest says of it. */
export async function verifyModel(entry: ModelEntry, modelsDir: string): Promise<FileState> {
  const path = join(modelsDir, entry.file);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || !found.isFile()) return 'missing';
  if (found.size !== entry.bytes) return 'wrong size';
  return (await sumOf(path)) === entry.sha256 ? 'ok' : 'wrong sum';
}

const isUrl = (place: string) => /^https?:\/\//i.test(place);

function shown(place: string): string {
  if (!isUrl(place)) return place;
  if (!URL.canParse(place)) return place.replace(/\/\/.*@/, '//');
  const url = new URL(place);
  url.password = '';
  url.username = '';
  return url.href;
}

function placesFor(entry: ModelEntry, places: PullPlaces): string[] {
  const folders = [
    ...places.mirrors,
    ...places.siblings,
    ...(entry.layout === 'cascade' ? places.cascadeDirs : []),
  ].map((folder) => (isUrl(folder) ? `${folder.replace(/\/+$/, '')}/${entry.file}` : join(folder, entry.file)));
  return [...folders, ...entry.sources];
}

/**
 * Puts a model's file into the models folder unless it is there: from the mirrors, sibling folders, the system's
 * cascades, the official URLs. A file whose size or SHA-256 sum is not the manifest's is never taken.
 *
 * @throws Error only for faults of the models folder itself, such as a full disk
 */
export async function pullModel(
  entry: ModelEntry,
  modelsDir: string,
  places: PullPlaces,
  timeouts = TRANSFER_TIMEOUTS,
): Promise<PullOutcome> {
  const attempts: Attempt[] = [];
  const present = await verifyModel(entry, modelsDir);
  if (present === 'ok') return { state: 'present', attempts };
  if (present !== 'missing') attempts.push({ where: join(modelsDir, entry.file), why: `has the ${present}` });
  makeFolder(modelsDir);
  for (const place of placesFor(entry, places)) {
    try {
      if (isUrl(place)) await download(place, modelsDir, entry, timeouts);
      else await copyFrom(place, modelsDir, entry);
      return { state: 'pulled', from: shown(place), attempts };
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      attempts.push({ where: shown(place), why: error.message });
    }
  }
  return { state: 'failed', attempts };
}

const STALE_AFTER_MS = 3_600_000;

/** Removes what transfers left behind that were killed more than an hour ago. */
export async function removeStaleParts(modelsDir: string): Promise<void> {
  const names = await readdir(modelsDir).catch(() => []);
  for (const name of names) {
    if (!isPart(name)) continue;
    const path = join(modelsDir, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > STALE_AFTER_MS) await rm(path, { force: true });
  }
}
