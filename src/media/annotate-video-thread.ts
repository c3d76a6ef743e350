/**
 * The thread that draws boxes into a video: one ffmpeg decodes it, the pictures pass through here as they come out of
 * the pipe and get their boxes painted in, and another ffmpeg encodes them.
 */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Size } from '../detect/detector.ts';
import { type Mark, marksOf } from './annotation-marks.ts';
import { createBoxTimeline, type FrameBoxes, type TrackedBox } from './box-timeline.ts';
import { type Caged, spawnCaged } from './cage.ts';
import { createNutScanner } from './nut-scanner.ts';
import { type ColourMatrix, createPlanePainter } from './paint-planes.ts';
import { type RunningJob, STOP, serveJobs } from './serve-jobs.ts';

export type AnnotationJob = {
  /** Command lines of the decoder, of which the next is tried where one fails before its first picture. */
  decoders: string[][];
  encoder: string[];
  /** Size of the video as a person sees it, in which boxes are given, and of the pictures in the pipe. */
  size: Size;
  pipeSize: Size;
  matrix: ColourMatrix;
  /** How many frames an analysed frame stands for at most. */
  every: number;
};

export type ToAnnotation = FrameBoxes | 'end';

export type FromAnnotation =
  | { kind: 'progress'; frames: number; reached: number }
  | { kind: 'done'; frames: number }
  | { kind: 'failed'; program: 'decoder' | 'encoder' | undefined; reason: string };

/** Progress is told this often at most, and whenever an analysed frame has been reached. */
const PROGRESS_INTERVAL_MS = 100;

type Failure = FromAnnotation & { kind: 'failed' };
/** How a part has ended: with an error, or as it should. */
type Ending = Error | undefined;

/** Ends what runs, where another part has ended before its time. */
const cutShort = new Error('cut short');

function endingOf(part: Promise<void>, then: (error: Ending) => void): Promise<Ending> {
  return part
    .then(
      () => undefined,
      (error: Error) => error,
    )
    .then((error) => {
      then(error);
      return error;
    });
}

function blame([decoded, encoded, pumped]: readonly [Ending, Ending, Ending]): Failure | undefined {
  const isCause = (error: Ending): error is Error => error instanceof Error && error !== cutShort;
  if (isCause(encoded)) return { kind: 'failed', program: 'encoder', reason: encoded.message };
  if (isCause(decoded)) return { kind: 'failed', program: 'decoder', reason: decoded.message };
  const rest = pumped ?? encoded ?? decoded;
  return rest && { kind: 'failed', program: undefined, reason: rest.message };
}

/** Everything to paint into a picture: labels cover outlines, earlier boxes later ones. */
function marksFor(boxes: readonly TrackedBox[], size: Size): Mark[] {
  const drawn = boxes.map((box) => marksOf(box, size)).reverse();
  return [...drawn.flatMap(({ outline }) => outline), ...drawn.flatMap(({ label }) => label)];
}

function startAnnotation(job: AnnotationJob, post: (message: FromAnnotation) => void): RunningJob<ToAnnotation> {
  const timeline = createBoxTimeline(job.every);
  const paint = createPlanePainter(job.pipeSize, job.matrix);
  let shown: readonly TrackedBox[] = [];
  let marks: Mark[] = [];
  let frames = 0;
  let told = 0;
  let begun = false;
  let stopped = false;
  let cut: () => void = () => {};

  /** Gets ready to paint a picture: waits until its boxes are known. */
  async function beginPicture(index: number): Promise<void> {
    begun = true;
    const reached = timeline.reached();
    await timeline.reach(index);
    const boxes = timeline.boxesAt(index);
    if (boxes !== shown) marks = marksFor(boxes, job.size);
    shown = boxes;
    frames = index + 1;
    const now = performance.now();
    if (timeline.reached() === reached && now - told < PROGRESS_INTERVAL_MS) return;
    told = now;
    post({ kind: 'progress', frames, reached: timeline.reached() });
  }

  /** Passes the stream on from one program to the other, painted. */
  async function pump(source: Caged, sink: Writable, signal: AbortSignal): Promise<void> {
    const scanner = createNutScanner();
    let inPicture = -1;
    for await (const chunk of source.stdout as AsyncIterable<Buffer>) {
      for (const { frame, offset, from, to } of scanner.scan(chunk)) {
        if (frame !== inPicture) await beginPicture(frame);
        inPicture = frame;
        if (marks.length > 0) paint(marks, new Uint8Array(chunk.buffer, chunk.byteOffset + from, to - from), offset);
      }
      if (!sink.write(chunk)) await once(sink, 'drain', { signal });
    }
    // What a decoder that failed has left must not become a shorter video.
    await source.ended;
    sink.end();
  }

  /** Runs both programs to their end. */
  async function encode(decoder: readonly string[]): Promise<Failure | undefined> {
    const source = spawnCaged('ffmpeg', decoder, {});
    const sink = spawnCaged('ffmpeg', job.encoder, {}, { withInput: true });
    const input = sink.stdin as Writable;
    const over = new AbortController();
    cut = () => {
      source.kill(cutShort);
      sink.kill(cutShort);
    };
    const decoded = endingOf(source.ended, (error) => {
      if (error !== undefined && error !== cutShort) sink.kill(cutShort);
    });
    const encoded = endingOf(sink.ended, () => {
      source.kill(cutShort);
      over.abort();
      // The pump may wait for boxes that nobody needs any more.
      if (begun) timeline.end();
    });
    const pumped = endingOf(pump(source, input, over.signal), (error) => {
      if (error === undefined) return;
      source.kill(cutShort);
      // Not the encoder itself: where it has failed, it has something to say.
      input.destroy();
    });
    return blame(await Promise.all([decoded, encoded, pumped]));
  }

  async function run(): Promise<void> {
    let failure: Failure | undefined;
    for (const decoder of job.decoders) {
      failure = await encode(decoder);
      if (failure === undefined || begun || stopped) break;
    }
    post(failure ?? { kind: 'done', frames });
  }

  return {
    receive(message) {
      if (message === 'end') timeline.end();
      else if (message !== STOP) timeline.add(message);
      else {
        stopped = true;
        timeline.end();
        cut();
      }
    },
    ended: run(),
  };
}

serveJobs(startAnnotation);
