import type { Size } from '../detect/detector.ts';
import type { ProbedFile, ProbedStream } from './ffprobe.ts';
import { unreadable } from './media-errors.ts';
import { type VideoMime, videoExtension } from './media-types.ts';
import type { VideoContainer } from './video-signature.ts';

/** A rational number, as exact as the file says it. */
export type Ratio = readonly [numerator: number, denominator: number];

/** ffmpeg filter that turns a decoded frame as the display matrix asks. */
export type Turn = 'clock' | 'cclock' | 'clock_flip' | 'cclock_flip' | 'hflip' | 'vflip' | 'half';

export type VideoHeader = {
  mime: VideoMime;
  /** Extension without a dot under which the file is stored. */
  extension: string;
  demuxer: string;
  /** Pixels of a frame as a person sees it: turned, with square pixels. */
  width: number;
  height: number;
  /** Pixels of a frame as it is stored. */
  stored: Size;
  /** Degrees clockwise by which a stored frame is turned to be seen. */
  rotation: 0 | 90 | 180 | 270;
  turn: Turn | undefined;
  interlaced: boolean;
  /** Average frames a second, 0 where the file does not tell. */
  fps: number;
  /** Seconds, undefined where the file does not tell. */
  duration: number | undefined;
  /** Frames in the whole file, where the container says so. */
  frames: number | undefined;
  codec: string;
  streamIndex: number;
  /** Seconds that one tick of the stream's presentation times lasts. */
  timeBase: Ratio;
  colour: Colour;
  audio: { codec: string; streamIndex: number } | undefined;
};

/** How the samples stand for colours, in ffmpeg's words; undefined where the file does not tell. */
type Colour = {
  rgb: boolean;
  fullRange: boolean;
  space: string | undefined;
  transfer: string | undefined;
  primaries: string | undefined;
};

const INTERLACED = new Set(['tt', 'bb', 'tb', 'bt']);
const RGB_FORMAT = /^(rgb|bgr|gbr|argb|abgr|0rgb|0bgr|pal8|x2rgb|x2bgr)/;
/** Pixels more than so many times as wide as high, or high as wide, are a broken header. */
const WIDEST_PIXEL = 16;
/** Share of the larger matrix entry below which the smaller one counts as nothing. */
const STRAIGHT = 0.01;

/** `a/b` or `a:b` as two numbers; undefined for 0/0, 0:1 and everything else without meaning. */
function parseRatio(text: string | undefined): Ratio | undefined {
  const match = /^(\d+)[/:](\d+)$/.exec(text ?? '');
  const ratio: Ratio = [Number(match?.[1]), Number(match?.[2])];
  return ratio[0] > 0 && ratio[1] > 0 ? ratio : undefined;
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

const quotient = (ratio: Ratio | undefined) => (ratio === undefined ? undefined : ratio[0] / ratio[1]);

/**
 * The turn that a display matrix stands for: a stored point (x, y) is seen at (a x + c y, b x + d y). Turns by other
 * angles than quarters, which no camera writes, are left undone, as browsers do.
 *
 * @param matrix as ffprobe prints it: a line for each row, which begins with the row's number and a colon
 */
export function turnOf(matrix: string | undefined): Pick<VideoHeader, 'turn' | 'rotation'> {
  const [first = [], second = []] = (matrix ?? '')
    .trim()
    .split('\n')
    .map((row) =>
      row
        .replace(/^\s*\d+:/, '')
        .trim()
        .split(/\s+/)
        .map(Number),
    );
  const [a = 0, b = 0] = first;
  const [c = 0, d = 0] = second;
  const straight = Math.min(Math.abs(a), Math.abs(d));
  const crossed = Math.min(Math.abs(b), Math.abs(c));
  const largestOff = (off: number, on: number) => Math.abs(off) < STRAIGHT * on;
  if (straight > 0 && largestOff(b, straight) && largestOff(c, straight)) {
    if (a < 0 && d < 0) return { turn: 'half', rotation: 180 };
    if (a < 0) return { turn: 'hflip', rotation: 0 };
    return { turn: d < 0 ? 'vflip' : undefined, rotation: 0 };
  }
  if (crossed > 0 && largestOff(a, crossed) && largestOff(d, crossed)) {
    if (b > 0) return { turn: c < 0 ? 'clock' : 'cclock_flip', rotation: 90 };
    return { turn: c > 0 ? 'cclock' : 'clock_flip', rotation: 270 };
  }
  return { turn: undefined, rotation: 0 };
}

/** Size with square pixels: as browsers do, the shorter side of a pixel grows, so that no line is lost. */
export function squarePixels(stored: Size, aspect: Ratio | undefined): Size {
  const wider = quotient(aspect) ?? 1;
  if (wider > WIDEST_PIXEL || wider < 1 / WIDEST_PIXEL) return stored;
  if (wider >= 1) return { width: Math.round(stored.width * wider), height: stored.height };
  return { width: stored.width, height: Math.round(stored.height / wider) };
}

function fpsOf(stream: ProbedStream, duration: number | undefined, frames: number | undefined): number {
  const average = quotient(parseRatio(stream.avg_frame_rate));
  if (average !== undefined) return average;
  if (frames !== undefined && duration !== undefined) return frames / duration;
  return quotient(parseRatio(stream.r_frame_rate)) ?? 0;
}

/**
 * Seconds that the pictures last. Where the rate varies a stream may leave out how long its last ones stay; the file as a
 * whole knows, but counts sound as well.
 */
function durationOf(stream: ProbedStream, format: ProbedFile['format'], hasSound: boolean): number | undefined {
  const [own, whole] = [positive(stream.duration), positive(format?.duration)];
  if (own === undefined || whole === undefined) return own ?? whole;
  return hasSound ? own : Math.max(own, whole);
}

function colourOf(stream: ProbedStream): Colour {
  const known = (value: string | undefined) => (value === 'unknown' || value === 'reserved' ? undefined : value);
  const format = stream.pix_fmt ?? '';
  return {
    rgb: RGB_FORMAT.test(format) || stream.color_space === 'gbr',
    fullRange: stream.color_range === 'pc' || format.startsWith('yuvj'),
    space: known(stream.color_space),
    transfer: known(stream.color_transfer),
    primaries: known(stream.color_primaries),
  };
}

/**
 * What is to be known of a video before it is decoded.
 *
 * @throws AppError UNREADABLE_MEDIA without a video stream (a cover picture is none), or without size or time base
 */
export function videoHeaderOf({ streams, format }: ProbedFile, { mime, demuxer }: VideoContainer): VideoHeader {
  const stream = streams.find((one) => one.codec_type === 'video' && one.disposition?.attached_pic !== 1);
  if (stream === undefined) throw unreadable('The file has no video stream.');
  const { width = 0, height = 0, codec_name: codec } = stream;
  const timeBase = parseRatio(stream.time_base);
  if (width < 1 || height < 1 || codec === undefined || codec === 'unknown' || timeBase === undefined) {
    throw unreadable('The video is damaged or incomplete: it does not say how its pictures are stored.');
  }
  const stored = { width, height };
  const { turn, rotation } = turnOf(stream.side_data_list?.find((data) => data.displaymatrix)?.displaymatrix);
  const square = squarePixels(stored, parseRatio(stream.sample_aspect_ratio));
  const seen = rotation === 90 || rotation === 270 ? { width: square.height, height: square.width } : square;
  const frames = positive(stream.nb_frames);
  const sound = streams.find((one) => one.codec_type === 'audio' && (one.codec_name ?? 'unknown') !== 'unknown');
  const duration = durationOf(stream, format, sound !== undefined);
  return {
    mime,
    extension: videoExtension(mime),
    demuxer,
    ...seen,
    stored,
    rotation,
    turn,
    interlaced: INTERLACED.has(stream.field_order ?? ''),
    fps: fpsOf(stream, duration, frames),
    duration,
    frames,
    codec,
    streamIndex: stream.index,
    timeBase,
    colour: colourOf(stream),
    audio: sound && { codec: sound.codec_name ?? '', streamIndex: sound.index },
  };
}
