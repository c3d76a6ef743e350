import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { isGone } from './processes.ts';

const run = promisify(execFile);

/** Runs ffmpeg as a user would and gives back what it wrote to standard output. */
export async function ffmpeg(...args: string[]): Promise<Buffer> {
  const options = { encoding: 'buffer', maxBuffer: 2 ** 28 } as const;
  const { stdout } = await run('ffmpeg', ['-v', 'error', '-nostdin', '-y', ...args], options);
  return stdout;
}

/** Asks ffprobe and gives back its answer. */
export async function ffprobe<T>(path: string, ...questions: string[]): Promise<T> {
  const { stdout } = await run('ffprobe', ['-v', 'error', '-of', 'json', ...questions, path], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout) as T;
}

/** Presentation times in seconds of all frames of the first video stream, by ffprobe's own decoding. */
export async function frameTimes(path: string): Promise<number[]> {
  const { frames = [] } = await ffprobe<{ frames?: { best_effort_timestamp_time?: string }[] }>(
    path,
    ...['-select_streams', 'V:0', '-show_entries', 'frame=best_effort_timestamp_time'],
  );
  return frames.map((frame) => Number(frame.best_effort_timestamp_time));
}

/** Process ids of the ffmpegs and ffprobes that have `path` in their command line. */
export function ffmpegsOn(path: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid)) return false;
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return /^ff(mpeg|probe)\0/.test(command) && command.includes(path) && !isGone(pid);
      } catch {
        return false;
      }
    });
}

/** Peak signal-to-noise ratio of two pictures in dB; infinite where they are the same. */
export function psnr(one: Uint8Array, other: Uint8Array): number {
  let squares = 0;
  for (let at = 0; at < one.length; at++) squares += ((one[at] ?? 0) - (other[at] ?? 0)) ** 2;
  return 10 * Math.log10((255 ** 2 * one.length) / squares);
}
