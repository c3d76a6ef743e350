import { describe, expect, test } from 'vitest';
import { AppError } from '../../src/errors.ts';
import type { FrameRange } from '../../src/media/frame-selection.ts';
import { BAD_VIDEOS } from '../support/bad-files.ts';
import { ffmpeg, frameTimes, psnr } from '../support/ffmpeg.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { knownVideos, probeFile, readFile } from '../support/videos.ts';

/** Without a container there is nothing to tell its type by. */
const CONTAINED = knownVideos().filter(([name]) => name !== 'crowd-raw.h264');

const video = (name: string) => sharedPath(`data/videos/${name}`);

describe.skipIf(!requireShared())('ordinary videos', () => {
  test.each(CONTAINED)('%s is known by its header', async (name, known) => {
    const header = await probeFile(video(name));
    const [frames = 0, seconds = 1] = known.avg_frame_rate.split('/').map(Number);
    expect(header).toMatchObject({
      codec: known.codec,
      width: known.shown[0],
      height: known.shown[1],
      stored: { width: known.stored[0], height: known.stored[1] },
      fps: frames / seconds,
    });
    expect(header.audio !== undefined).toBe(known.audio);
    if (header.frames !== undefined) expect(header.frames).toBe(known.frames);
  });

  test.each(CONTAINED)('%s is read frame by frame, each at its own time', async (name, known) => {
    const { frames, reading } = await readFile(video(name));
    expect(reading).toEqual({
      framesInFile: known.frames,
      framesRead: known.frames,
      endedCleanly: true,
      lastError: undefined,
    });
    expect(frames.map(({ index }) => index)).toEqual(Array.from({ length: known.frames }, (_, n) => n));
    const times = await frameTimes(video(name));
    for (const { index, timestamp } of frames) {
      const time = (times[index] ?? Number.NaN) - (times[0] ?? 0);
      // The last frame of an AVI file may have no time of its own: it follows the one before it.
      if (Number.isNaN(time)) expect(timestamp).toBeGreaterThan(frames[index - 1]?.timestamp ?? 0);
      else expect(timestamp).toBeCloseTo(time, 5);
    }
  });

  test('raw H.264 without container is refused', async () => {
    await expect(probeFile(video('crowd-raw.h264'))).rejects.toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' });
  });
});

describe.skipIf(!requireShared())('the wanted frames', () => {
  test.each([
    ['signer-vfr.mp4', { frameSkip: 5 }],
    ['signer-vfr.mp4', { frameSkip: 2, startSeconds: 0.7, endSeconds: 2.1 }],
    ['cars.mp4', { frameSkip: 7, startSeconds: 12.3 }],
    ['signer.mkv', { frameSkip: 1, endSeconds: 0.5 }],
    ['signer-vp9.webm', { frameSkip: 3, startSeconds: 1, endSeconds: 1.5 }],
    ['signer-animated.gif', { frameSkip: 2, startSeconds: 0.5, endSeconds: 2 }],
    ['two-faces.mp4', { frameSkip: 1_000_000_000 }],
  ])('of %s: %j', async (name, range) => {
    const { frames, reading } = await readFile(video(name), range);
    const times = (await frameTimes(video(name))).map((time, _, [first = 0]) => time - first);
    const { startSeconds = 0, endSeconds = Number.POSITIVE_INFINITY, frameSkip }: FrameRange = range;
    const inRange = [...times.keys()].filter((index) => {
      const time = times[index] ?? 0;
      return time >= startSeconds && time < endSeconds;
    });
    expect(frames.map(({ index }) => index)).toEqual(inRange.filter((_, n) => n % frameSkip === 0));
    expect(reading).toEqual({
      framesInFile: times.length,
      framesRead: frames.length,
      endedCleanly: true,
      lastError: undefined,
    });
  });

  test('none after the end of the file', async () => {
    const { frames, reading } = await readFile(video('two-faces.mp4'), { startSeconds: 100 });
    expect(frames).toEqual([]);
    expect(reading).toMatchObject({ framesInFile: 56, framesRead: 0, endedCleanly: true });
  });

  test.each([
    ['signer.mkv', 0],
    ['signer.mkv', 42],
    ['signer-vfr.mp4', 56],
    ['signer-phone-rotated.mov', 33],
    ['signer-av1.mp4', 17],
    ['signer-animated.gif', 20],
    ['../bad/video/rotated-90.mp4', 10],
    ['../bad/video/rotated-180.mp4', 10],
    ['../bad/video/non-square-pixels.mp4', 10],
    ['../bad/video/ten-bit.mp4', 30],
    ['../bad/video/odd-size-444.mp4', 44],
  ])('look as ffmpeg itself shows them: %s, frame %i', async (name, index) => {
    const size = { width: 200, height: 160 };
    const { frames } = await readFile(video(name), { size, frameSkip: Math.max(1, index) });
    const filters = `select='eq(n,${index})',scale=200:160:flags=bilinear`;
    const shown = await ffmpeg(
      ...['-i', video(name), '-map', '0:V:0', '-vf', filters, '-frames:v', '1'],
      ...['-pix_fmt', 'rgb24', '-f', 'rawvideo', 'pipe:1'],
    );
    const frame = frames.find((one) => one.index === index);
    expect(shown.length).toBe(200 * 160 * 3);
    expect(psnr(frame?.data ?? new Uint8Array(0), shown)).toBeGreaterThan(38);
  });
});

describe.skipIf(!requireShared())('awkward videos', () => {
  test.each(BAD_VIDEOS.map((entry) => [entry.file, entry] as const))('%s', async (file, entry) => {
    const started = performance.now();
    const path = sharedPath(`data/bad/${file}`);
    const outcome = await readFile(path, { size: { width: 32, height: 32 } }).catch((error: unknown) => error);
    expect(performance.now() - started).toBeLessThan(50_000);
    if (outcome instanceof Error) {
      expect(entry.expect).not.toBe('accept');
      expect(outcome).toBeInstanceOf(AppError);
      const { code, message } = outcome as AppError;
      expect(entry.error_code).toContain(code);
      expect(message).not.toMatch(/\/|ffmpeg|ffprobe|\bmoov\b|0x/);
      return;
    }
    const { header, reading, frames } = outcome as Awaited<ReturnType<typeof readFile>>;
    expect(entry.expect).not.toBe('reject');
    expect(frames.length).toBe(reading.framesRead);
    if (entry.expect !== 'accept') return;
    expect(reading).toMatchObject({ endedCleanly: true, lastError: undefined });
    expect(reading.framesInFile).toBe((await frameTimes(path)).length);
    const { width, height, fps } = header;
    const { faces_per_frame: _, objects: __, ...expected } = entry.reference ?? {};
    expect({ width, height, fps, frames: reading.framesInFile }).toMatchObject(expected);
  });

  test.each(['truncated-data.mp4', 'truncated.mkv'])('%s does not pass as a shorter video', async (name) => {
    const { reading } = await readFile(sharedPath(`data/bad/video/${name}`));
    expect(reading.endedCleanly).toBe(false);
    expect(reading.lastError).toMatch(/partial file|ended prematurely|Invalid data/);
    expect(reading.framesRead).toBeGreaterThan(5);
    expect(reading.framesRead).toBeLessThan(45);
  });

  test.each([
    ['eight-k.mp4', 7680 * 4320],
    ['huge-frame-mjpeg.avi', 8192 * 8192],
    ['non-square-pixels.mp4', 640 * 240],
  ])('%s is refused where its frames have more pixels than are allowed', async (name, pixels) => {
    const path = sharedPath(`data/bad/video/${name}`);
    await expect(probeFile(path, pixels)).resolves.toMatchObject({ demuxer: expect.any(String) });
    const refused = probeFile(path, pixels - 1);
    await expect(refused).rejects.toMatchObject({ code: 'UNREADABLE_MEDIA' });
    await expect(refused).rejects.toThrow(`at most ${pixels - 1} pixels`);
  });
});
