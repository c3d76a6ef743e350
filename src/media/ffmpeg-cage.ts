/** Largest single allocation of ffmpeg and ffprobe in bytes, so that a header that lies cannot fill memory. */
export const MAX_ALLOCATION = 2 ** 30;

/** Options of an input file: it alone is opened, whatever it refers to, and read as nothing else than `demuxer`. */
export function inputCage(demuxer: string): string[] {
  return ['-protocol_whitelist', 'file,pipe', '-format_whitelist', demuxer, '-f', demuxer];
}
