import buildCommand from 'fluent-ffmpeg';
import type { Size } from '../detect/detector.ts';
import { type CageLimits, runCaged } from './cage.ts';

/** No questions asked; no single allocation above this many bytes, so that a header that lies cannot fill memory. */
const ALWAYS = ['-nostdin', '-hide_banner', '-loglevel', 'error', '-max_alloc', String(2 ** 30)];

/** Only the given file is opened, whatever it refers to. */
const INPUT_CAGE = ['-protocol_whitelist', 'file,pipe'];

/**
 * Decodes a BMP picture to RGB at `size`, its colour kept and its alpha, which no viewer heeds, left out.
 *
 * @param pixels width x height that is still decoded
 * @returns width x height x 3 bytes, or fewer where the picture is cut off
 */
export function readBmpPixels(path: string, size: Size, limits: CageLimits & { pixels: number }): Promise<Uint8Array> {
  const command = buildCommand(`file:${path}`)
    .inputOptions('-threads', '1', '-max_pixels', String(limits.pixels), '-c:v', 'bmp', ...INPUT_CAGE)
    .inputFormat('bmp_pipe')
    .frames(1)
    .videoFilters(`scale=${size.width}:${size.height}:flags=bilinear+accurate_rnd+full_chroma_inp+full_chroma_int`)
    .outputOptions('-threads', '1', '-pix_fmt', 'rgb24')
    .format('rawvideo')
    .output('pipe:1');
  return runCaged('ffmpeg', argumentsOf(command), { ...limits, outputBytes: size.width * size.height * 3 });
}

/** The command line that fluent-ffmpeg has put together; its own ways to start a process are not used. */
function argumentsOf(command: buildCommand.FfmpegCommand): string[] {
  const { _getArguments } = command as unknown as { _getArguments(): string[] };
  return [...ALWAYS, ..._getArguments.call(command)];
}
