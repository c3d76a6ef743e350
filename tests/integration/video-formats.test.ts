import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ffmpeg, frameTimes, psnr } from '../support/ffmpeg.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { readFile } from '../support/videos.ts';

const SIGNER = sharedPath('data/videos/signer.mkv');
const FRAMES = 20;
const SIZE = { width: 160, height: 120 };

/** Encoders by codec, as quick as they can be. */
const ENCODERS: Record<string, string[]> = {
  h264: ['-c:v', 'libx264', '-preset', 'ultrafast'],
  hevc: ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none'],
  vp8: ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '1M'],
  vp9: ['-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '1M'],
  av1: ['-c:v', 'libaom-av1', '-usage', 'realtime', '-cpu-used', '8', '-b:v', '1M'],
  mpeg4: ['-c:v', 'mpeg4', '-q:v', '3'],
  mpeg2video: ['-c:v', 'mpeg2video', '-q:v', '3'],
  mjpeg: ['-c:v', 'mjpeg', '-q:v', '3', '-pix_fmt', 'yuvj420p'],
  wmv2: ['-c:v', 'wmv2', '-q:v', '3'],
  flv1: ['-c:v', 'flv1', '-q:v', '3'],
  gif: [],
};

/** What each container takes; two names for one format stand for both. */
const CONTAINERS: Record<string, string[]> = {
  mp4: ['h264', 'hevc', 'vp9', 'av1', 'mpeg4', 'mjpeg'],
  mov: ['h264', 'hevc', 'mpeg4', 'mjpeg'],
  m4v: ['h264', 'mpeg4'],
  '3gp': ['h264', 'mpeg4'],
  mkv: ['h264', 'hevc', 'vp8', 'vp9', 'av1', 'mpeg4', 'mjpeg'],
  webm: ['vp8', 'vp9', 'av1'],
  avi: ['h264', 'mpeg4', 'mjpeg'],
  flv: ['h264', 'flv1'],
  wmv: ['wmv2', 'mpeg4'],
  ts: ['h264', 'hevc', 'mpeg2video'],
  m2ts: ['h264'],
  mpg: ['mpeg2video'],
  gif: ['gif'],
};

const PAIRS = Object.entries(CONTAINERS).flatMap(([container, codecs]) =>
  codecs.map((codec) => [container, codec] as const),
);

/** Extensions under which files are stored, where it is not their own. */
const STORED_AS: Record<string, string> = { m2ts: 'ts' };

describe.skipIf(!requireShared())('what ffmpeg can write can be read', () => {
  let folder: string;
  const clip = (name: string) => join(folder, name);
  const write = (name: string, ...args: string[]) => ffmpeg('-i', SIGNER, ...args, clip(name));

  beforeAll(() => {
    folder = tempDir('video');
  });

  test.each(PAIRS)('%s with %s', async (container, codec) => {
    const name = `${codec}.${container}`;
    await write(name, '-vf', 'scale=160:120', '-frames:v', String(FRAMES), '-an', ...(ENCODERS[codec] ?? []));
    const { header, frames, reading } = await readFile(clip(name), { size: SIZE });
    expect(header).toMatchObject({ ...SIZE, codec, extension: STORED_AS[container] ?? container });
    expect(reading).toEqual({ framesInFile: FRAMES, framesRead: FRAMES, endedCleanly: true, lastError: undefined });
    const times = await frameTimes(clip(name));
    expect(times).toHaveLength(FRAMES);
    for (const { index, timestamp } of frames) {
      const time = (times[index] ?? Number.NaN) - (times[0] ?? 0);
      if (!Number.isNaN(time)) expect(timestamp).toBeCloseTo(time, 5);
    }
    // The tenth frame is still the tenth frame of the source.
    const source = await ffmpeg(
      ...['-i', SIGNER, '-vf', `select='eq(n,9)',scale=160:120`, '-frames:v', '1'],
      ...['-pix_fmt', 'rgb24', '-f', 'rawvideo', 'pipe:1'],
    );
    // A palette of 256 colours is not much.
    expect(psnr(frames[9]?.data ?? new Uint8Array(0), source)).toBeGreaterThan(codec === 'gif' ? 20 : 24);
  });

  test.each([
    ['ten bits', 'h264', ['-pix_fmt', 'yuv420p10le']],
    ['4:2:2', 'h264', ['-pix_fmt', 'yuv422p']],
    ['4:4:4', 'h264', ['-pix_fmt', 'yuv444p']],
    ['grey', 'h264', ['-pix_fmt', 'gray']],
    ['many B frames', 'h264', ['-preset', 'medium', '-bf', '5', '-b_strategy', '2']],
    ['only key frames', 'h264', ['-g', '1']],
    ['a single slice of many', 'h264', ['-slices', '8']],
    ['an index at the end', 'mpeg4', ['-movflags', '-faststart']],
    ['an index in pieces', 'mpeg4', ['-movflags', 'frag_keyframe+empty_moov+default_base_moof', '-g', '5']],
  ])('MP4 with %s', async (name, codec, options) => {
    const file = `${name.replaceAll(/\W/g, '-')}.mp4`;
    await write(file, '-vf', 'scale=160:120', '-frames:v', '30', '-an', ...(ENCODERS[codec] ?? []), ...options);
    const { frames, reading } = await readFile(clip(file), { size: SIZE });
    expect(reading).toMatchObject({ framesInFile: 30, framesRead: 30, endedCleanly: true });
    expect(new Set(frames.map(({ timestamp }) => timestamp)).size).toBe(30);
  });

  test('interlaced video is deinterlaced, at its own times', async () => {
    await write(
      'interlaced.mpg',
      ...['-vf', 'scale=320:240,fps=50,interlace=scan=tff', '-frames:v', '25', '-an'],
      ...['-c:v', 'mpeg2video', '-q:v', '2', '-flags', '+ilme+ildct', '-top', '1'],
    );
    const size = { width: 320, height: 240 };
    const { header, frames, reading } = await readFile(clip('interlaced.mpg'), { size });
    expect(header.interlaced).toBe(true);
    expect(reading).toMatchObject({ framesInFile: 25, framesRead: 25, endedCleanly: true });
    for (const { index, timestamp } of frames) expect(timestamp).toBeCloseTo(index / 25, 4);
    // Every frame of a range comes out, the last one too.
    const range = await readFile(clip('interlaced.mpg'), { size, startSeconds: 0.2, endSeconds: 0.6, frameSkip: 3 });
    expect(range.frames.map(({ index }) => index)).toEqual([5, 8, 11, 14]);
    for (const { index, data } of range.frames) expect(psnr(data, frames[index]?.data ?? data)).toBeGreaterThan(30);
  });

  test('one interlaced frame is one frame', async () => {
    await write(
      'one-interlaced.ts',
      ...['-vf', 'scale=320:240,interlace=scan=tff', '-frames:v', '1', '-an'],
      ...['-c:v', 'mpeg2video', '-flags', '+ilme+ildct', '-top', '1'],
    );
    const { reading } = await readFile(clip('one-interlaced.ts'));
    expect(reading).toMatchObject({ framesInFile: 1, framesRead: 1, endedCleanly: true });
  });

  test.each([
    ['odd.mp4', '161:121', [], { width: 161, height: 121 }],
    ['narrow.mp4', '2:240', [], { width: 2, height: 240 }],
    ['wide-pixels.mkv', '180:144', ['-aspect', '4:3'], { width: 192, height: 144 }],
    ['tall-pixels.mkv', '192:120', ['-aspect', '4:3'], { width: 192, height: 144 }],
  ])('%s is shown with square pixels', async (name, scale, options, shown) => {
    const pixels = ['-pix_fmt', 'yuv444p'];
    await write(
      name,
      '-vf',
      `scale=${scale}`,
      '-frames:v',
      '5',
      '-an',
      ...(ENCODERS.h264 ?? []),
      ...pixels,
      ...options,
    );
    const { header, reading } = await readFile(clip(name));
    expect(header).toMatchObject(shown);
    expect(reading).toMatchObject({ framesRead: 5, endedCleanly: true });
  });

  test('a size that changes on the way keeps the numbers', async () => {
    await write('small.ts', '-vf', 'scale=160:120', '-frames:v', '15', '-an', ...(ENCODERS.h264 ?? []));
    await write('large.ts', '-vf', 'scale=320:240', '-frames:v', '15', '-an', ...(ENCODERS.h264 ?? []));
    await ffmpeg('-i', `concat:${clip('small.ts')}|${clip('large.ts')}`, '-c', 'copy', clip('both.mkv'));
    const { frames, reading } = await readFile(clip('both.mkv'), { size: SIZE, frameSkip: 4, startSeconds: 0.2 });
    expect(reading).toMatchObject({ framesInFile: 30, endedCleanly: true });
    expect(frames.map(({ index }) => index)).toEqual([6, 10, 14, 18, 22, 26]);
  });

  test('sound without pictures, and a film without frames, are refused or break', async () => {
    await ffmpeg('-f', 'lavfi', '-i', 'sine=440:d=1', '-c:a', 'aac', clip('sound.mov'));
    await expect(readFile(clip('sound.mov'))).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
    await ffmpeg('-f', 'lavfi', '-i', 'testsrc=s=64x64:d=1', '-frames:v', '0', clip('empty.mkv'));
    const outcome = await readFile(clip('empty.mkv')).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'UNREADABLE_MEDIA' });
    else expect(outcome).toMatchObject({ reading: { framesRead: 0, endedCleanly: false } });
  });

  test.each([
    ['mp4', 'libx264', ['-movflags', '+faststart']],
    ['mkv', 'libx264', []],
    ['webm', 'libvpx', ['-deadline', 'realtime', '-cpu-used', '8']],
    ['avi', 'mpeg4', []],
    ['flv', 'libx264', []],
    ['ts', 'libx264', []],
  ])('%s that breaks in the middle does not end cleanly', async (container, encoder, options) => {
    await write(`whole.${container}`, '-an', '-c:v', encoder, ...options);
    const whole = readFileSync(clip(`whole.${container}`));
    const middle = Math.floor(whole.length / 2);
    const cut = whole.subarray(0, middle + 77);
    // A run of bytes that no codec and no container writes, the same in every run.
    const noise = Buffer.from(Array.from({ length: 6000 }, (_, n) => (n * n * 7919 + n * 31) % 251));
    const spoilt = Buffer.concat([whole.subarray(0, middle), noise, whole.subarray(middle + noise.length)]);
    for (const [what, bytes] of Object.entries({ cut, spoilt })) {
      const path = clip(`${what}.${container}`);
      writeFileSync(path, bytes);
      const { reading } = await readFile(path);
      expect(reading.endedCleanly, what).toBe(false);
      expect(reading.lastError, what).toMatch(/\S/);
      expect(reading.framesRead, what).toBeGreaterThan(20);
    }
  });

  test('recordings that begin between two key frames are read from the first whole frame on', async () => {
    await write('gop.mp4', '-vf', 'scale=160:120', '-an', '-c:v', 'libx264', '-g', '30', '-bf', '2');
    for (const container of ['ts', 'mkv', 'flv']) {
      const name = `cut.${container}`;
      const cut = ['-bsf:v', "noise=drop='lt(n,20)'", '-copyinkf'];
      await ffmpeg('-i', clip('gop.mp4'), '-c', 'copy', ...cut, clip(name));
      expect(existsSync(clip(name))).toBe(true);
      const { reading } = await readFile(clip(name));
      expect(reading).toMatchObject({ endedCleanly: true, lastError: undefined });
      expect(reading.framesRead).toBe((await frameTimes(clip(name))).length);
      expect(reading.framesRead).toBeGreaterThan(40);
    }
  });
});
