import { existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { annotateVideo, type FrameBoxes, type VideoAnnotation } from '../../src/media/annotate-video.ts';
import { groupColour } from '../../src/media/annotation-colours.ts';
import { ffmpeg, ffmpegsOn, ffprobe, frameTimes, psnr } from '../support/ffmpeg.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { probeFile } from '../support/videos.ts';
import { waitFor } from '../support/wait-for.ts';

const video = (name: string) => sharedPath(`data/videos/${name}`);
const bad = (name: string) => sharedPath(`data/bad/video/${name}`);

let folder: string;
beforeAll(() => {
  folder = tempDir('annotation');
});

async function annotate(source: string, boxes: VideoAnnotation['boxes'], options: Partial<VideoAnnotation> = {}) {
  const target = join(folder, `${Math.random()}.tmp`);
  const header = await probeFile(source);
  const result = await annotateVideo({ source, header, boxes, target, frameSkip: 5, pixels: 1e8, ...options });
  return { target, header, result };
}

type Stream = Record<string, string | number | undefined> & { tags?: Record<string, string> };

function streamsOf(path: string) {
  return ffprobe<{ streams: Stream[]; chapters: unknown[]; format: { tags?: Record<string, string> } }>(
    path,
    ...['-show_streams', '-show_chapters', '-show_format'],
  );
}

/** One frame as RGB, by its number. */
function pictureOf(path: string, index: number): Promise<Buffer> {
  const filters = ['-vf', `select='eq(n,${index})'`, '-frames:v', '1'];
  return ffmpeg('-i', path, '-map', '0:V:0', ...filters, '-pix_fmt', 'rgb24', '-f', 'rawvideo', 'pipe:1');
}

/** The colour around a place, as far as it is the same there. */
function colourAt(picture: Buffer, width: number, x: number, y: number): number[] {
  return [0, 1, 2].map((channel) => {
    let sum = 0;
    for (const dx of [0, 1]) for (const dy of [0, 1]) sum += picture[((y + dy) * width + x + dx) * 3 + channel] ?? 0;
    return sum / 4;
  });
}

function isLike(colour: readonly number[], other: readonly number[]): boolean {
  return colour.every((value, channel) => Math.abs(value - (other[channel] ?? 0)) < 60);
}

/** Names of the boxes in the order in which an MP4 file holds them. */
function boxOrder(path: string): string[] {
  const file = openSync(path, 'r');
  const head = Buffer.alloc(16);
  const names: string[] = [];
  for (let at = 0; readSync(file, head, 0, 16, at) >= 8; ) {
    names.push(head.toString('latin1', 4, 8));
    const size = head.readUInt32BE(0);
    at += size === 1 ? Number(head.readBigUInt64BE(8)) : size;
  }
  return names;
}

const BOX = { bbox: { x: 40, y: 60, width: 120, height: 90 }, text: '', group: 0 };

describe.skipIf(!requireShared())('an annotated video', () => {
  test.each([
    ['signer.mkv', video('signer.mkv'), [640, 480]],
    ['variable frame rate', video('signer-vfr.mp4'), [480, 360]],
    ['a turned one', video('signer-phone-rotated.mov'), [480, 360]],
    ['a GIF', video('signer-animated.gif'), [320, 240]],
    ['Matroska times in milliseconds', video('signer-vp9.webm'), [480, 360]],
    ['odd sides', bad('odd-size-444.mp4'), [322, 242]],
    ['wide pixels', bad('non-square-pixels.mp4'), [640, 240]],
    ['ten bits', bad('ten-bit.mp4'), [320, 240]],
    ['a late start', bad('starts-late.mp4'), [320, 240]],
    ['a transport stream', bad('good.ts'), [320, 240]],
    ['one frame', bad('one-frame.mp4'), [320, 240]],
    ['tiny', bad('tiny-16x16.mp4'), [16, 16]],
  ])('plays in browsers and keeps size and times: %s', async (_, source, size) => {
    const times = await frameTimes(source);
    const { target, result } = await annotate(source, [{ index: 0, boxes: [BOX] }]);
    const { streams, chapters, format } = await streamsOf(target);
    expect(streams).toHaveLength(1);
    expect(streams[0]).toMatchObject({ codec_name: 'h264', pix_fmt: 'yuv420p', width: size[0], height: size[1] });
    expect([undefined, '1:1']).toContain(streams[0]?.sample_aspect_ratio);
    expect(Number(streams[0]?.level)).toBeLessThanOrEqual(42);
    expect(result).toEqual({ frames: times.length, width: size[0], height: size[1] });
    const copied = await frameTimes(target);
    expect(copied.map((time) => time - (copied[0] ?? 0))).toEqual(
      times.map((time) => expect.closeTo(time - (times[0] ?? 0), 4)),
    );
    expect(boxOrder(target)).toEqual(expect.arrayContaining(['ftyp', 'moov', 'mdat']));
    expect(boxOrder(target).indexOf('moov')).toBeLessThan(boxOrder(target).indexOf('mdat'));
    expect(chapters).toEqual([]);
    expect(Object.keys(format.tags ?? {})).toEqual(['major_brand', 'minor_version', 'compatible_brands']);
  });

  test('looks like the original but for the boxes', async () => {
    for (const name of [video('signer.mkv'), video('signer-phone-rotated.mov'), video('cars.mp4')]) {
      const { target } = await annotate(name, []);
      for (const index of [0, 40]) {
        expect(psnr(await pictureOf(target, index), await pictureOf(name, index))).toBeGreaterThan(34);
      }
    }
  });

  test('shows each box in the colour of its group until the next analysed frame', async () => {
    const boxes: FrameBoxes[] = [
      { index: 10, boxes: [{ ...BOX, group: 0 }] },
      { index: 15, boxes: [] },
      { index: 20, boxes: [{ ...BOX, group: 6 }] },
    ];
    const { target } = await annotate(video('signer.mkv'), boxes);
    const shown: (number | undefined)[] = [];
    for (const index of [0, 9, 10, 14, 15, 19, 20, 24, 25, 60]) {
      const edge = colourAt(await pictureOf(target, index), 640, 100, 60);
      shown.push([0, 6].find((group) => isLike(edge, groupColour(group))));
    }
    expect(shown).toEqual([undefined, undefined, 0, 0, undefined, undefined, 6, 6, undefined, undefined]);
  });

  test('moves a tracked box in a straight line', async () => {
    const at = (x: number) => [{ ...BOX, bbox: { ...BOX.bbox, x }, trackId: 4 }];
    const boxes = [
      { index: 0, boxes: at(40) },
      { index: 5, boxes: at(240) },
    ];
    const { target } = await annotate(video('signer.mkv'), boxes);
    const green = groupColour(0);
    for (const [index, left] of [40, 80, 120, 160, 200, 240].entries()) {
      const picture = await pictureOf(target, index);
      expect(isLike(colourAt(picture, 640, left, 100), green), `frame ${index}`).toBe(true);
      expect(isLike(colourAt(picture, 640, left + 60, 100), green), `frame ${index}`).toBe(false);
    }
  });

  test('has its sound, as AAC and in time', async () => {
    const sine = ['-f', 'lavfi', '-i', 'sine=440:d=3'];
    const sounds = [
      ['aac.mp4', 'aac', 0],
      ['late.mkv', 'aac', 2],
      ['vorbis.mkv', 'libvorbis', 0],
      ['late-mp3.mkv', 'libmp3lame', 1],
      ['pcm.mov', 'pcm_s16le', 0],
      ['ac3.ts', 'ac3', 0],
      ['aac.ts', 'aac', 0],
    ] as const;
    for (const [name, codec, delay] of sounds) {
      const source = join(folder, name);
      const maps = ['-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', codec];
      await ffmpeg('-i', video('signer.mkv'), '-itsoffset', String(delay), ...sine, ...maps, source);
      const { target } = await annotate(source, []);
      const { streams } = await streamsOf(target);
      expect(
        streams.map((stream) => stream.codec_name),
        name,
      ).toEqual(['h264', 'aac']);
      const gap = Number(streams[1]?.start_time) - Number(streams[0]?.start_time);
      const { streams: before } = await streamsOf(source);
      expect(gap, name).toBeCloseTo(Number(before[1]?.start_time) - Number(before[0]?.start_time), 1);
      expect(Number(streams[1]?.duration), name).toBeGreaterThan(2.8);
      expect(await frameTimes(target), name).toHaveLength(89);
    }
  });
});

describe.skipIf(!requireShared())('annotating', () => {
  test('goes on while boxes become known, not ahead of them, and holds them up when it is behind', async () => {
    let made = 0;
    let drawn = 0;
    let farthest = 0;
    async function* detect(): AsyncGenerator<FrameBoxes> {
      for (let index = 0; index < 1394; index += 5) {
        expect(drawn).toBeLessThanOrEqual(index);
        farthest = Math.max(farthest, index - drawn);
        made++;
        yield { index, boxes: [BOX] };
      }
    }
    const onProgress = (frames: number) => {
      expect(frames).toBeGreaterThanOrEqual(drawn);
      drawn = frames;
    };
    const { result } = await annotate(video('people-one-by-one.mp4'), detect(), { onProgress });
    expect(made).toBe(279);
    expect(result.frames).toBe(1394);
    expect(drawn).toBeGreaterThan(1300);
    // 33 analysed frames may wait; those on their way come on top.
    expect(farthest).toBeLessThan(5 * 60);
  });

  test('an error among the boxes ends it without a trace', async () => {
    const target = join(folder, 'broken.tmp');
    const broken = new Error('the video breaks here');
    async function* detect(): AsyncGenerator<FrameBoxes> {
      for (let index = 0; index < 40; index += 5) yield { index, boxes: [BOX] };
      await waitFor('a beginning', () => existsSync(target));
      throw broken;
    }
    await expect(annotate(video('signer.mkv'), detect(), { target })).rejects.toBe(broken);
    expect(existsSync(target)).toBe(false);
    expect(ffmpegsOn(folder)).toEqual([]);
  });

  test('an abort ends it without a trace, and whoever gives the boxes', async () => {
    const target = join(folder, 'aborted.tmp');
    const controller = new AbortController();
    const reason = new Error('cancelled');
    let isClosed = false;
    async function* detect(): AsyncGenerator<FrameBoxes> {
      try {
        for (let index = 0; index < 1394; index += 5) yield { index, boxes: [BOX] };
      } finally {
        isClosed = true;
      }
    }
    const onProgress = (frames: number) => {
      if (frames > 100) controller.abort(reason);
    };
    const options = { target, signal: controller.signal, onProgress };
    await expect(annotate(video('people-one-by-one.mp4'), detect(), options)).rejects.toBe(reason);
    expect(isClosed).toBe(true);
    expect(existsSync(target)).toBe(false);
    expect(ffmpegsOn(folder)).toEqual([]);
    await expect(annotate(video('signer.mkv'), [], { signal: controller.signal })).rejects.toBe(reason);
  });

  test('a target that cannot be written is a fault that may pass, and names no path', async () => {
    const writing = annotate(video('signer.mkv'), [], { target: join(folder, 'missing', 'x.tmp') });
    await expect(writing).rejects.toMatchObject({
      name: 'TransientError',
      message: 'The encoder of the video failed.',
    });
    const reading = annotate(video('signer.mkv'), [], { source: join(folder, 'gone.mkv') });
    await expect(reading).rejects.toMatchObject({
      name: 'TransientError',
      message: 'The decoder of the video failed.',
    });
  });

  test('sound that cannot be read does not cost the pictures', async () => {
    const source = join(folder, 'mute.mkv');
    await ffmpeg('-i', video('signer.mkv'), '-f', 'lavfi', '-i', 'sine=440:d=3', '-c:v', 'copy', '-c:a', 'aac', source);
    const header = await probeFile(source);
    const lost = { ...header, audio: { codec: 'aac', streamIndex: 7 } };
    const target = join(folder, 'mute.tmp');
    await annotateVideo({ source, header: lost, boxes: [], target, frameSkip: 5, pixels: 1e8 });
    const { streams } = await streamsOf(target);
    expect(streams.map(({ codec_name }) => codec_name)).toEqual(['h264']);
    expect(readFileSync(target).length).toBeGreaterThan(10_000);
  });
});
