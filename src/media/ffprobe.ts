import { z } from 'zod';
import { type CageLimits, runCaged } from './cage.ts';
import { inputCage, MAX_ALLOCATION } from './ffmpeg-cage.ts';

const text = z.string().optional();
const whole = z.int().optional();

const Stream = z.object({
  index: z.int(),
  codec_type: text,
  codec_name: text,
  width: whole,
  height: whole,
  pix_fmt: text,
  sample_aspect_ratio: text,
  field_order: text,
  color_range: text,
  color_space: text,
  color_transfer: text,
  color_primaries: text,
  avg_frame_rate: text,
  r_frame_rate: text,
  time_base: text,
  duration: text,
  nb_frames: text,
  nb_read_packets: text,
  disposition: z.object({ attached_pic: whole }).optional(),
  side_data_list: z.array(z.object({ displaymatrix: text })).optional(),
});
export type ProbedStream = z.infer<typeof Stream>;

const Description = z.object({
  streams: z.array(Stream).default([]),
  format: z.object({ duration: text }).optional(),
});
export type ProbedFile = z.infer<typeof Description>;

/** Far more than any honest file needs, some thousand streams. */
const MAX_OUTPUT_BYTES = 4 * 2 ** 20;

const SHOWN = [
  `stream=${Object.keys(Stream.shape).join(',')}`,
  'stream_disposition=attached_pic',
  'stream_side_data=displaymatrix',
  'format=duration',
].join(':');

/** Where a file lies and which demuxer may read it. */
export type ProbeInput = { path: string; demuxer: string };

async function ffprobe(input: ProbeInput, questions: readonly string[], limits: CageLimits): Promise<ProbedFile> {
  const args = [
    ...['-hide_banner', '-loglevel', 'error', '-max_alloc', String(MAX_ALLOCATION), '-threads', '1'],
    ...inputCage(input.demuxer),
    ...['-print_format', 'json=compact=1', ...questions, '-i', `file:${input.path}`],
  ];
  const output = await runCaged('ffprobe', args, { ...limits, outputBytes: MAX_OUTPUT_BYTES });
  return Description.parse(JSON.parse(Buffer.from(output.buffer, output.byteOffset, output.byteLength).toString()));
}

/**
 * What ffprobe tells of a file's streams, from its headers and a first look at its packets.
 *
 * @throws CagedProgramError where it cannot read the file, SyntaxError or ZodError where its answer makes no sense
 */
export function probeStreams(input: ProbeInput, limits: CageLimits): Promise<ProbedFile> {
  return ffprobe(input, ['-show_entries', SHOWN], limits);
}

/** Packets of one stream, counted by reading the whole file without decoding it. */
export async function countPackets(input: ProbeInput, streamIndex: number, limits: CageLimits): Promise<number> {
  const questions = [
    '-select_streams',
    String(streamIndex),
    '-count_packets',
    '-show_entries',
    'stream=index,nb_read_packets',
  ];
  const { streams } = await ffprobe(input, questions, limits);
  return Number(streams[0]?.nb_read_packets ?? 0);
}
