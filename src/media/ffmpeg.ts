import buildCommand from 'fluent-ffmpeg';
import type { Size } from '../detect/detector.ts';
import { type CageLimits, runCaged } from './cage.ts';
import { inputCage, MAX_ALLOCATION } from './ffmpeg-cage.ts';
import { reportFilters } from './frame-report.ts';
import { type FrameSelection, selectionFilters } from './frame-selection.ts';
import type { VideoHeader } from './video-header.ts';

type Command = buildCommand.FfmpegCommand;

/** No questions asked; nothing said but errors, each of them. */
const ALWAYS = [
  '-nostdin',
  '-hide_banner',
  '-nostats',
  '-loglevel',
  'repeat+error',
  '-max_alloc',
  String(MAX_ALLOCATION),
];

/**
 * Decodes a BMP picture to RGB at `size`, its colour kept and its alpha, which no viewer heeds, left out.
 *
 * @param pixels width x height that is still decoded
 * @returns width x height x 3 bytes, or fewer where the picture is cut off
 */
export function readBmpPixels(path: string, size: Size, limits: CageLimits & { pixels: number }): Promise<Uint8Array> {
  const command = buildCommand(`file:${path}`)
    .inputOptions('-threads', '1', '-max_pixels', String(limits.pixels), '-c:v', 'bmp', ...inputCage('bmp_pipe'))
    .frames(1)
    .videoFilters(`scale=${size.width}:${size.height}:flags=bilinear+accurate_rnd+full_chroma_inp+full_chroma_int`)
    .outputOptions('-threads', '1', '-pix_fmt', 'rgb24')
    .format('rawvideo')
    .output('pipe:1');
  const args = argumentsOf(command);
  return runCaged('ffmpeg', args, { ...limits, outputBytes: size.width * size.height * 3 });
}

/** What ffmpeg is to decode, and within which bounds. */
export type VideoInput = { path: string; header: VideoHeader; pixels: number; threads: number };

/**
 * The command that decodes a video from its beginning, reports every frame (see `createFrameReport`) and writes the
 * selected ones to standard output: RGB, 8 bits a channel, rows without padding, `size` pixels each.
 */
export function frameArguments(input: VideoInput, size: Size, selection: FrameSelection): string[] {
  const { header } = input;
  const { range, step } = selectionFilters(selection);
  const lyingDown = header.rotation === 90 || header.rotation === 270;
  const [width, height] = lyingDown ? [size.height, size.width] : [size.width, size.height];
  const filters = [
    ...reportFilters(header.timeBase),
    ...deinterlacing(header),
    ...range,
    ...step,
    `scale=${width}:${height}:flags=bilinear`,
    ...turning(header),
  ];
  const command = openVideo(input)
    .outputOptions('-map', `0:${header.streamIndex}`, '-an', '-sn', '-dn')
    .videoFilters(filters.join(','))
    .outputOptions('-threads', '1', '-pix_fmt', 'rgb24', '-fps_mode', 'passthrough')
    .format('rawvideo')
    .output('pipe:1');
  return argumentsOf(command);
}

/**
 * A video as ffmpeg opens it. Its filters stay as they are when the size of the frames changes on the way, so that
 * frames are numbered through; that asks for filters that cope, of which `scale` is one, and turning afterwards is safe.
 */
function openVideo({ path, header, pixels, threads }: VideoInput): Command {
  return buildCommand(`file:${path}`)
    .inputOptions('-threads', String(threads), '-max_pixels', String(pixels), '-noautorotate', '-reinit_filter', '0')
    .inputOptions(inputCage(header.demuxer));
}

/** Only frames that are marked as interlaced are changed; sizes and ticks stay as they were. */
function deinterlacing({ interlaced, stored, timeBase }: VideoHeader): string[] {
  if (!interlaced) return [];
  return [
    `scale=${stored.width}:${stored.height}:interl=-1`,
    'yadif=deint=interlaced',
    `settb=${timeBase[0]}/${timeBase[1]}`,
  ];
}

function turning({ turn }: VideoHeader): string[] {
  if (turn === undefined) return [];
  if (turn === 'half') return ['hflip', 'vflip'];
  return turn === 'hflip' || turn === 'vflip' ? [turn] : [`transpose=${turn}`];
}

/** The command line that fluent-ffmpeg has put together; its own ways to start a process are not used. */
function argumentsOf(command: Command): string[] {
  const { _getArguments } = command as unknown as { _getArguments(): string[] };
  return [...ALWAYS, ..._getArguments.call(command)];
}
