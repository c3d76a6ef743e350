import { describe, expect, test } from 'vitest';
import type { ProbedStream } from '../../../src/media/ffprobe.ts';
import { squarePixels, turnOf, videoHeaderOf } from '../../../src/media/video-header.ts';

const MP4 = { mime: 'video/mp4', demuxer: 'mov' } as const;

const video: ProbedStream = {
  index: 0,
  codec_type: 'video',
  codec_name: 'h264',
  width: 640,
  height: 480,
  avg_frame_rate: '30000/1001',
  r_frame_rate: '30/1',
  time_base: '1/15360',
};

/** A matrix as ffprobe prints it, in its 16.16 numbers. */
const matrix = (a: number, b: number, c: number, d: number) =>
  `\n00000000: ${a * 65536} ${b * 65536} 0\n00000001: ${c * 65536} ${d * 65536} 0\n00000002: 0 0 1073741824\n`;

describe('a display matrix', () => {
  // What ffmpeg's own rotation does with these matrices, from the geometry: (x, y) is seen at (ax + cy, bx + dy).
  test.each([
    ['nothing', matrix(1, 0, 0, 1), undefined, 0],
    ['a quarter to the right', matrix(0, 1, -1, 0), 'clock', 90],
    ['a half', matrix(-1, 0, 0, -1), 'half', 180],
    ['a quarter to the left', matrix(0, -1, 1, 0), 'cclock', 270],
    ['a mirror', matrix(-1, 0, 0, 1), 'hflip', 0],
    ['upside down', matrix(1, 0, 0, -1), 'vflip', 0],
    ['rows and columns exchanged', matrix(0, 1, 1, 0), 'cclock_flip', 90],
    ['exchanged the other way', matrix(0, -1, -1, 0), 'clock_flip', 270],
    ['a scaled quarter', matrix(0, 2, -2, 0), 'clock', 90],
    ['a crooked angle', matrix(0.7, 0.7, -0.7, 0.7), undefined, 0],
    ['zeros', matrix(0, 0, 0, 0), undefined, 0],
    ['no matrix', undefined, undefined, 0],
    ['nonsense', 'abc\n\n1:', undefined, 0],
  ])('%s', (_, text, turn, rotation) => {
    expect(turnOf(text)).toEqual({ turn, rotation });
  });
});

describe('the size', () => {
  test.each([
    [
      [720, 576],
      [16, 15],
      [768, 576],
    ],
    [
      [720, 480],
      [8, 9],
      [720, 540],
    ],
    [
      [320, 240],
      [2, 1],
      [640, 240],
    ],
    [
      [176, 144],
      [12, 11],
      [192, 144],
    ],
    [[640, 480], undefined, [640, 480]],
    [
      [640, 480],
      [1, 1],
      [640, 480],
    ],
    [
      [640, 480],
      [1, 65535],
      [640, 480],
    ],
  ] as const)('%j with pixels of %j is shown as %j', ([width, height], aspect, [seenWidth, seenHeight]) => {
    expect(squarePixels({ width, height }, aspect)).toEqual({ width: seenWidth, height: seenHeight });
  });

  test('is turned with the picture, after its pixels are square', () => {
    const stream = {
      ...video,
      sample_aspect_ratio: '2:1',
      side_data_list: [{}, { displaymatrix: matrix(0, 1, -1, 0) }],
    };
    expect(videoHeaderOf({ streams: [stream] }, MP4)).toMatchObject({
      width: 480,
      height: 1280,
      stored: { width: 640, height: 480 },
      rotation: 90,
    });
  });
});

describe('the header', () => {
  test('tells what the file tells', () => {
    const streams = [
      { index: 0, codec_type: 'audio', codec_name: 'aac' },
      { ...video, index: 1, nb_frames: '89', duration: '2.966667', field_order: 'tt', color_space: 'bt709' },
      { index: 2, codec_type: 'audio', codec_name: 'mp3' },
    ];
    expect(videoHeaderOf({ streams, format: { duration: '805306.4' } }, MP4)).toMatchObject({
      mime: 'video/mp4',
      extension: 'mp4',
      codec: 'h264',
      streamIndex: 1,
      fps: 30000 / 1001,
      duration: 2.966667,
      frames: 89,
      timeBase: [1, 15360],
      interlaced: true,
      audio: { codec: 'aac', streamIndex: 0 },
      colour: { rgb: false, fullRange: false, space: 'bt709' },
    });
  });

  test('leaves out what the file leaves out', () => {
    const header = videoHeaderOf({ streams: [{ ...video, avg_frame_rate: '0/0', color_space: 'unknown' }] }, MP4);
    expect(header).toMatchObject({
      duration: undefined,
      frames: undefined,
      audio: undefined,
      fps: 30,
      interlaced: false,
    });
    expect(header.colour.space).toBeUndefined();
  });

  test('reckons the rate from frames and duration where there is no average', () => {
    const stream = { ...video, avg_frame_rate: '0/0', nb_frames: '50', duration: '4' };
    expect(videoHeaderOf({ streams: [stream] }, MP4).fps).toBe(12.5);
    expect(videoHeaderOf({ streams: [{ ...video, avg_frame_rate: '0/0', r_frame_rate: '0/0' }] }, MP4).fps).toBe(0);
  });

  test.each([
    ['full range by its tag', { pix_fmt: 'yuv420p', color_range: 'pc' }, { rgb: false, fullRange: true }],
    ['full range by its format', { pix_fmt: 'yuvj422p' }, { rgb: false, fullRange: true }],
    ['RGB', { pix_fmt: 'bgra' }, { rgb: true, fullRange: false }],
    ['a palette', { pix_fmt: 'pal8' }, { rgb: true, fullRange: false }],
  ])('knows %s', (_, tags, colour) => {
    expect(videoHeaderOf({ streams: [{ ...video, ...tags }] }, MP4).colour).toMatchObject(colour);
  });

  test.each([
    ['no stream at all', []],
    ['sound only', [{ index: 0, codec_type: 'audio', codec_name: 'aac' }]],
    ['a cover picture only', [{ ...video, disposition: { attached_pic: 1 } }]],
    ['no size', [{ ...video, width: 0, height: 0 }]],
    ['an unknown codec', [{ ...video, codec_name: 'unknown' }]],
    ['no codec', [{ ...video, codec_name: undefined }]],
    ['no time base', [{ ...video, time_base: '0/0' }]],
  ])('is refused with %s', (_, streams) => {
    expect(() => videoHeaderOf({ streams }, MP4)).toThrow(expect.objectContaining({ code: 'UNREADABLE_MEDIA' }));
  });
});
