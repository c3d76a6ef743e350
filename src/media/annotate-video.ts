import { rm } from 'node:fs/promises';
import type { Size } from '../detect/detector.ts';
import { TransientError } from '../errors.ts';
import type { AnnotationJob, FromAnnotation, ToAnnotation } from './annotate-video-thread.ts';
import type { FrameBoxes } from './box-timeline.ts';
import { encodeArguments, evenSize, matrixOf, pictureArguments } from './ffmpeg.ts';
import { startMediaThread } from './media-thread.ts';
import type { VideoHeader } from './video-header.ts';

export type { FrameBoxes, TrackedBox } from './box-timeline.ts';

export type VideoAnnotation = {
  source: string;
  header: VideoHeader;
  /**
   * The analysed frames in their order; those without boxes may be left out. Asked for no faster than drawing goes on,
   * so that a generator may detect while the frames before are being drawn.
   */
  boxes: Iterable<FrameBoxes> | AsyncIterable<FrameBoxes>;
  /** How many frames an analysed frame stands for at most. */
  frameSkip: number;
  /** Full path of the MP4 file that is written; gone again when this fails. */
  target: string;
  /** Width x height of a stored frame that is still decoded. */
  pixels: number;
  /** Threads that encode, two when unset; one more decodes. */
  threads?: number;
  /** Called with the number of frames drawn so far, at least ten times a second while they are drawn. */
  onProgress?: (frames: number) => void;
  signal?: AbortSignal | undefined;
};

const THREAD = new URL('./annotate-video-thread.ts', import.meta.url);

/** Analysed frames that may wait to be drawn. */
const AHEAD = 32;

/**
 * Writes a copy of a video with boxes and labels drawn in: H.264 in MP4 that browsers play and seek, of the size that a
 * person sees (an odd side one pixel longer), each frame at its own time, with the sound, without any metadata. A box
 * stays until the next analysed frame and moves towards the one of the same track in it.
 *
 * The pictures pass through a thread of their own between two ffmpegs. Drawn by libass from a file of events instead it
 * took as much time for short videos and ever more for long ones, together with memory; this way both stay flat, and
 * frames are told apart by number, not by time rounded to hundredths.
 *
 * @returns frames written and the size of the copy
 * @throws whatever `boxes` throws, or the reason of the abort
 * @throws TransientError for faults of disk, memory or processes
 */
export async function annotateVideo(annotation: VideoAnnotation): Promise<Size & { frames: number }> {
  const { header, target, signal } = annotation;
  signal?.throwIfAborted();
  const outcome = Promise.withResolvers<number>();
  let isOver = false;
  let reached = 0;
  let wake: (() => void) | undefined;

  function end(error?: Error, frames = 0): void {
    if (error === undefined) outcome.resolve(frames);
    else outcome.reject(error);
    isOver = true;
    wake?.();
  }
  const onMessage = (message: FromAnnotation) => {
    if (message.kind === 'done') return end(undefined, message.frames);
    if (message.kind === 'failed') return end(failureOf(message));
    reached = message.reached;
    wake?.();
    annotation.onProgress?.(message.frames);
  };
  const thread = startMediaThread<ToAnnotation, FromAnnotation>(THREAD, jobOf(annotation), onMessage, end);
  const onAbort = () => end(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });

  async function feed(): Promise<void> {
    let sent = 0;
    for await (const { index, boxes } of annotation.boxes) {
      if (isOver) return;
      thread.post({ index, boxes });
      sent++;
      while (sent - reached > AHEAD && !isOver) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    thread.post('end');
  }
  const fed = feed().then(
    () => undefined,
    (error: Error) => {
      end(error);
      return error;
    },
  );

  try {
    return { ...evenSize(header), frames: await outcome.promise };
  } catch (error) {
    await thread.stop();
    await rm(target, { force: true });
    signal?.throwIfAborted();
    // Whoever looks at the frames knows best what is wrong with a video that cannot be drawn into.
    throw (await fed) ?? error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await thread.stop();
    await fed;
  }
}

function jobOf({ source, header, target, pixels, frameSkip, threads = 2 }: VideoAnnotation): AnnotationJob {
  const input = { path: source, header, pixels, threads: 1 };
  const withoutSound = pictureArguments(input, false);
  return {
    decoders: header.audio === undefined ? [withoutSound] : [pictureArguments(input, true), withoutSound],
    encoder: encodeArguments(header, target, threads),
    size: { width: header.width, height: header.height },
    pipeSize: evenSize(header),
    matrix: matrixOf(header),
    every: frameSkip,
  };
}

function failureOf({ program, reason }: FromAnnotation & { kind: 'failed' }): Error {
  const what = program === undefined ? 'The annotated video could not be made' : `The ${program} of the video failed`;
  return new TransientError(`${what}.`, { cause: new Error(reason) });
}
