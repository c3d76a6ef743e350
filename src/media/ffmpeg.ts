import buildCommand from 'fluent-ffmpeg';
import type { Size } from '../detect/detector.ts';
import { type CageLimits, runCaged } from './cage.ts';
import { inputCage, MAX_ALLOCATION } from './ffmpeg-cage.ts';
import { reportFilters } from './frame-report.ts';
import { type FrameSelection, selectionFilters } from './frame-selection.ts';
import type { ColourMatrix } from './paint-planes.ts';
import type { Ratio, VideoHeader } from './video-header.ts';

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
 * Sound that crosses NUT as it is; other sound crosses as plain samples. ffmpeg's NUT cannot carry all: it loses the
 * block size of WMA and ADPCM, and contradicts itself on MP3.
 */
const CARRIED_SOUND = /^(aac|ac3|eac3|opus|vorbis|flac|amr_nb|amr_wb|pcm_(s16le|s16be|s24le|f32le|u8|alaw|mulaw))$/;

/** Even numbers, as 4:2:0 needs them. */
export function evenSize({ width, height }: Size): Size {
  return { width: width + (width % 2), height: height + (height % 2) };
}

/**
 * The command that decodes a video as a person sees it and writes it to standard output in NUT: planar YUV 4:2:0 of
 * limited range, square pixels, even size (an odd side repeats its last line), each frame at its own presentation time;
 * with the sound as second stream.
 */
export function pictureArguments(input: VideoInput, withSound: boolean): string[] {
  const { header } = input;
  const { audio, timeBase } = header;
  const lyingDown = header.rotation === 90 || header.rotation === 270;
  const [width, height] = lyingDown ? [header.height, header.width] : [header.width, header.height];
  const even = evenSize(header);
  const filters = [
    `settb=${timeBase[0]}/${timeBase[1]}`,
    ...deinterlacing(header),
    `scale=${width}:${height}:flags=bicubic${colourConversion(header)}`,
    'format=yuv420p',
    ...turning(header),
    'setsar=1',
  ];
  if (even.width !== header.width || even.height !== header.height) {
    filters.push(
      `pad=${even.width}:${even.height}`,
      `fillborders=right=${even.width - header.width}:bottom=${even.height - header.height}:mode=smear`,
    );
  }
  const command = openVideo(input)
    .outputOptions('-map', `0:${header.streamIndex}`, '-sn', '-dn', ...WITHOUT_METADATA)
    .videoFilters(filters.join(','))
    .outputOptions('-threads:v', '1', '-c:v', 'rawvideo', '-pix_fmt', 'yuv420p', ...OWN_TIMES(timeBase))
    // Sound that lags behind or starts late must not make pictures pile up.
    .outputOptions('-max_interleave_delta', '100000')
    .outputOptions('-max_muxing_queue_size', '16', '-muxing_queue_data_threshold', String(2 ** 27))
    // Whether the video is whole enough is not for this command to say.
    .outputOptions('-write_index', '0', '-max_error_rate', '1')
    .format('nut')
    .output('pipe:1');
  if (withSound && audio !== undefined) {
    command.outputOptions('-map', `0:${audio.streamIndex}`, '-copypriorss:a', '0');
    command.outputOptions('-c:a', CARRIED_SOUND.test(audio.codec) ? 'copy' : 'pcm_s16le');
  }
  return argumentsOf(command);
}

/**
 * The command that reads from standard input what the command of {@link pictureArguments} wrote, and makes an MP4 file
 * of it that browsers play and seek: H.264, index first, a key frame at least every four seconds, and AAC.
 */
export function encodeArguments(header: VideoHeader, target: string, threads: number): string[] {
  const { audio, fps, timeBase } = header;
  // AAC in transport streams is framed otherwise, and damaged frames of it would end the copying.
  const copied = audio?.codec === 'aac' && header.demuxer !== 'mpegts';
  const command = buildCommand('pipe:0')
    // Times are the decoder's, which knows when sound and pictures begin.
    .inputOptions('-copyts', ...inputCage('nut'))
    .outputOptions('-map', '0:v', '-map', '0:a?', ...WITHOUT_METADATA)
    .outputOptions('-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-pix_fmt', 'yuv420p')
    .outputOptions('-g', String(Math.min(250, Math.max(1, Math.round(fps * 4)))), '-threads:v', String(threads))
    .outputOptions(...OWN_TIMES(timeBase), ...colourTags(header))
    .outputOptions('-c:a', copied ? 'copy' : 'aac', ...(copied ? [] : ['-ac', '2', '-b:a', '160k']))
    .outputOptions('-max_muxing_queue_size', '100000', '-movflags', '+faststart', '-fflags', '+bitexact', '-y')
    .format('mp4')
    .output(`file:${target}`);
  return argumentsOf(command);
}

const WITHOUT_METADATA = ['-map_metadata', '-1', '-map_chapters', '-1'];

/** Presentation times as the source has them, to the tick. */
const OWN_TIMES = (timeBase: Ratio) => [
  '-fps_mode',
  'passthrough',
  '-enc_time_base:v',
  `${timeBase[0]}/${timeBase[1]}`,
];

/** What scale has to do besides scaling, so that the samples mean what {@link colourTags} says. */
function colourConversion({ colour }: VideoHeader): string {
  if (colour.rgb) return ':out_color_matrix=bt709:out_range=limited';
  return colour.fullRange ? ':in_range=full:out_range=limited' : '';
}

/** Matrix of the samples that the command of {@link pictureArguments} writes; large video without a tag is BT.709. */
export function matrixOf({ colour, height }: VideoHeader): ColourMatrix {
  if (colour.rgb || colour.space === 'bt709') return 'bt709';
  if (colour.space === 'bt2020nc') return 'bt2020';
  if (colour.space !== undefined) return 'bt601';
  return height >= 720 ? 'bt709' : 'bt601';
}

const KNOWN_SPACES = new Set(['bt709', 'smpte170m', 'bt470bg', 'bt2020nc']);
const KNOWN_PRIMARIES = new Set(['bt709', 'smpte170m', 'bt470bg', 'bt2020', 'smpte432']);
const KNOWN_TRANSFERS = new Set(['bt709', 'smpte170m', 'iec61966-2-1', 'smpte2084', 'arib-std-b67']);

/** How players are to understand the samples; says nothing where the source does not. */
function colourTags({ colour }: VideoHeader): string[] {
  const { rgb, space, primaries, transfer } = colour;
  const matrix = rgb ? 'bt709' : space;
  return [
    ...(matrix !== undefined && KNOWN_SPACES.has(matrix) ? ['-colorspace', matrix] : []),
    ...(primaries !== undefined && KNOWN_PRIMARIES.has(primaries) ? ['-color_primaries', primaries] : []),
    ...(transfer !== undefined && KNOWN_TRANSFERS.has(transfer) ? ['-color_trc', transfer] : []),
  ];
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
