import type { Frame, Size } from '../detect/detector.ts';
import { TransientError } from '../errors.ts';
import { frameArguments } from './ffmpeg.ts';
import { countPackets } from './ffprobe.ts';
import { createFrameRing, createRingReader, type FrameFacts } from './frame-ring.ts';
import { type FrameRange, selectionOf } from './frame-selection.ts';
import { isReachable } from './media-errors.ts';
import { startMediaThread } from './media-thread.ts';
import type { FramesJob, FramesReport } from './video-frames-thread.ts';
import type { VideoHeader } from './video-header.ts';

/** A frame, its number in the whole file from 0, and its time in seconds from the first frame of the file. */
export type VideoFrame = FrameFacts & {
  /** Its pixels are valid until the next frame is asked for. */
  frame: Frame;
};

export type VideoFramesOptions = FrameRange & {
  /** Size of the frames that are handed over; the video is scaled to exactly that. */
  size: Size;
  /** Width x height of a stored frame that is still decoded. */
  pixels: number;
  /** Threads that decode; one when unset. */
  threads?: number;
  signal?: AbortSignal | undefined;
};

/** How reading went. */
export type VideoReading = {
  /** Frames that decoding to the end of the file gives; by the container where reading ended before that. */
  framesInFile: number;
  framesRead: number;
  /** False where the video breaks in the middle, or nothing of it can be decoded. */
  endedCleanly: boolean;
  /** What ffmpeg said of it, for logs only. */
  lastError: string | undefined;
};

export type VideoFrames = AsyncIterable<VideoFrame> & {
  /** Frames decoded so far, wanted or not; grows while iteration waits for the next frame. */
  decoded(): number;
  /** Settles after iteration has ended; rejects for faults that are not the video's, or with the reason of the abort. */
  ended: Promise<VideoReading>;
  /** Ends reading; iteration that runs to its end or is left does so by itself. */
  close(): Promise<void>;
};

const THREAD = new URL('./video-frames-thread.ts', import.meta.url);

/** Counting what is left of a long file means reading it through. */
const COUNT_TIMEOUT_MS = 60_000;

/**
 * Decodes a video and hands over each `frameSkip`-th frame of the wanted time: RGB at exactly `size`, turned as the
 * display matrix says, deinterlaced where marked as interlaced. ffmpeg decodes from the beginning, so that numbers and
 * times are the file's own; a thread of its own moves the frames into a small ring in shared memory, so that decoding
 * goes on while detection blocks the caller's thread, and stands still while the ring is full.
 *
 * To be iterated once. Leaving the loop, an error in it and the abort end the thread and ffmpeg.
 *
 * @throws TransientError while iterating, for faults of disk, memory or processes, or the reason of the abort
 */
export function readVideoFrames(path: string, header: VideoHeader, options: VideoFramesOptions): VideoFrames {
  const { size, pixels, threads = 1, signal } = options;
  signal?.throwIfAborted();
  const selection = selectionOf(options, header.timeBase);
  const ring = createFrameRing(size);
  const reader = createRingReader(ring);
  const args = frameArguments({ path, header, pixels, threads }, size, selection);
  const job: FramesJob = { args, demuxer: header.demuxer, ring, selection, timeBase: header.timeBase };

  const { promise: reported, resolve, reject } = Promise.withResolvers<FramesReport>();
  reported.catch(() => {});
  const onFault = (error: Error) => {
    reject(error);
    reader.close();
  };
  const thread = startMediaThread(THREAD, job, resolve, onFault);

  let closing: Promise<void> | undefined;
  function close(): Promise<void> {
    closing ??= thread.stop().finally(() => signal?.removeEventListener('abort', onAbort));
    reader.close();
    return closing;
  }
  function onAbort(): void {
    reject(signal?.reason);
    void close();
  }
  signal?.addEventListener('abort', onAbort, { once: true });

  async function readingOf({ decoded, read, stoppedEarly, error, fault }: FramesReport): Promise<VideoReading> {
    if (fault !== undefined) throw new TransientError('The video could not be decoded.', { cause: new Error(fault) });
    if (error !== undefined && !(await isReachable(path))) {
      throw new TransientError('The video cannot be read from storage.', { cause: new Error(error) });
    }
    const lastError = error ?? (decoded === 0 ? 'no frame could be decoded' : undefined);
    const framesInFile = stoppedEarly ? Math.max(decoded, await countFrames()) : decoded;
    return { framesInFile, framesRead: read, endedCleanly: lastError === undefined, lastError };
  }

  async function countFrames(): Promise<number> {
    if (header.frames !== undefined) return header.frames;
    try {
      return await countPackets({ path, demuxer: header.demuxer }, header.streamIndex, {
        timeoutMs: COUNT_TIMEOUT_MS,
        signal,
      });
    } catch {
      return 0;
    }
  }

  const ended = reported.then(readingOf);
  ended.catch(() => {});

  async function* frames(): AsyncGenerator<VideoFrame, void, undefined> {
    try {
      for (;;) {
        const next = await reader.take();
        signal?.throwIfAborted();
        if (next === undefined) break;
        const { data, index, timestamp } = next;
        yield { frame: { data, width: size.width, height: size.height }, index, timestamp };
      }
      await ended;
    } finally {
      await close();
    }
  }

  return { [Symbol.asyncIterator]: frames, decoded: reader.decoded, ended, close };
}
