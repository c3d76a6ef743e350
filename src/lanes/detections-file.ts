import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { FrameEntry } from './frame-entries.ts';

export type DetectionsFile = {
  add(entry: FrameEntry): Promise<void>;
  /** Resolves when both files are complete. */
  end(): Promise<void>;
  /** Lets go of both files, whatever is in them. */
  abandon(): void;
};

async function write(stream: WriteStream, text: string): Promise<void> {
  if (stream.errored !== null) throw stream.errored;
  if (!stream.write(text)) await once(stream, 'drain');
}

/** Writes every frame with detections as it comes, to a JSON document and to a file with a line each (NDJSON). */
export function openDetectionsFile(jsonPath: string, linesPath: string): DetectionsFile {
  const json = createWriteStream(jsonPath);
  const lines = createWriteStream(linesPath);
  // A fault shows with the next write or at the end.
  for (const stream of [json, lines]) stream.on('error', () => undefined);
  let entries = 0;
  return {
    async add(entry) {
      const text = JSON.stringify(entry);
      await Promise.all([
        write(json, `${entries++ === 0 ? '{"frames":[\n' : ',\n'}${text}`),
        write(lines, `${text}\n`),
      ]);
    },
    async end() {
      json.end(entries === 0 ? '{"frames":[]}\n' : '\n]}\n');
      lines.end();
      await Promise.all([finished(json), finished(lines)]);
    },
    abandon() {
      json.destroy();
      lines.destroy();
    },
  };
}
