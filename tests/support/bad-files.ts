import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect } from 'vitest';
import type { Corners } from './boxes.ts';
import { requireShared, sharedPath } from './shared.ts';

/** A file of the collection of awkward inputs, with what is expected of it. */
export type BadFile<Reference> = {
  /** Below `data/bad`. */
  file: string;
  expect: 'accept' | 'reject' | 'either';
  why: string;
  /** Whether it must be refused before there is a task. */
  at_upload?: boolean;
  status?: number[];
  error_code?: string[];
  task_error_code?: string[];
  reference?: Reference;
};

export type BadPicture = BadFile<{ width: number; height: number; faces?: Corners[]; objects?: [string, Corners][] }>;

export type BadVideo = BadFile<{
  width?: number;
  height?: number;
  fps?: number;
  frames?: number;
  faces_per_frame?: number;
  objects?: string[];
}>;

export type BrokenRequest = { what: string; status: number[]; error_code?: string[] };

type Manifest = {
  cases: (BadFile<never> & { endpoint: string })[];
  names: { list: string[] };
  requests: BrokenRequest[];
};

/** Part of the manifest of awkward inputs; empty only where the shared material is missing. */
function listed<T>(pick: (manifest: Manifest) => readonly T[]): readonly T[] {
  if (!requireShared()) return [];
  const found = pick(JSON.parse(readFileSync(sharedPath('data/bad/manifest.json'), 'utf8')) as Manifest);
  if (found.length === 0) throw new Error('The manifest of awkward inputs lists nothing.');
  return found;
}

const casesOf = (wanted: string) => listed(({ cases }) => cases.filter(({ endpoint }) => endpoint === wanted));

export const BAD_PICTURES: readonly BadPicture[] = casesOf('image');
export const BAD_VIDEOS: readonly BadVideo[] = casesOf('video');
export const AWKWARD_NAMES = listed(({ names }) => names.list);
export const BROKEN_REQUESTS = listed(({ requests }) => requests);

/** What became of a file that was posted. */
export type Verdict = { accepted: boolean; atUpload: boolean; status: number; code: string | undefined; ms: number };

/** A file may also be found broken only when a worker reads it. */
export function expectAsListed(verdict: Verdict, one: BadFile<unknown>): void {
  const said = JSON.stringify(verdict);
  if (one.expect === 'accept') expect(verdict.accepted, said).toBe(true);
  if (one.expect === 'reject') expect(verdict.accepted, said).toBe(false);
  if (one.at_upload) expect(verdict.atUpload, said).toBe(true);
  if (verdict.accepted) return;
  const inTask = verdict.atUpload ? [] : ['UNREADABLE_MEDIA', ...(one.task_error_code ?? [])];
  expect([...(one.error_code ?? []), ...inTask], said).toContain(verdict.code);
  if (verdict.atUpload) expect(one.status, said).toContain(verdict.status);
}

/** Where some of the files would like to connect to. */
const BAIT_PORT = 9;

/**
 * Listens where some of the files would like to connect to, together with other tests that do so at the same time.
 * Where the system gives so low a port only to root, such connections are refused and nothing is counted.
 */
export async function startBait(): Promise<{ connections(): number; stop(): void }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EACCES' ? resolve() : reject(error)));
    server.listen({ port: BAIT_PORT, host: '127.0.0.1', reusePort: true }, resolve);
  });
  return { connections: () => connections, stop: () => server.close() };
}
