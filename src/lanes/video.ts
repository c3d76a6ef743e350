import { open } from 'node:fs/promises';
import type { RunningProgress } from '../contract/running-progress.ts';
import type { Detector } from '../detect/detector.ts';
import { AppError } from '../errors.ts';
import { annotateVideo, type FrameBoxes } from '../media/annotate-video.ts';
import { boxesToDraw } from '../media/boxes-to-draw.ts';
import { probeVideo } from '../media/probe-video.ts';
import { readVideoFrames, type VideoReading } from '../media/video-frames.ts';
import type { VideoHeader } from '../media/video-header.ts';
import { createTracker } from '../track/tracker.ts';
import { detectOptions } from './detect-options.ts';
import { openDetectionsFile } from './detections-file.ts';
import { toFindings } from './findings.ts';
import { countLabels, type FrameEntry, frameEntry } from './frame-entries.ts';
import { roundedMs } from './milliseconds.ts';
import { createProgress } from './progress.ts';
import type { LaneAnswer, VideoFindings, VideoTask } from './protocol.ts';

/** Bytes of JSON that the list in a result may take; all of it is in the detections file. */
const LIST_BYTES = 200_000;

/** How often the count of decoded frames is looked at, in ms. */
const TICK_MS = 200;

/** Bytes from the start of a file by which its type is told. */
const HEAD_BYTES = 4100;

type Analysis = {
  frames: FrameEntry[];
  truncated: boolean;
  totals: Record<string, number>;
  timings: { decode: number; inference: number; postprocess: number };
};

async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function brokenVideo(reading: VideoReading): AppError {
  return new AppError('UNREADABLE_MEDIA', 'The video is damaged: it cannot be read to its end.', {
    details: [{ frames_read: reading.framesRead }],
    cause: reading.lastError,
  });
}

/** What drawing took besides detecting, where it was done, in ms. */
function timed({ timings }: Analysis, wholeMs: number | undefined) {
  const detecting = timings.decode + timings.inference + timings.postprocess;
  return {
    decode: roundedMs(timings.decode),
    inference: roundedMs(timings.inference),
    postprocess: roundedMs(timings.postprocess),
    annotate: wholeMs === undefined ? 0 : roundedMs(Math.max(0, wholeMs - detecting)),
  };
}

function found(
  header: VideoHeader,
  reading: VideoReading,
  { frames, truncated, totals }: Analysis,
  unique: Record<string, number> | undefined,
): VideoFindings {
  const thousandths = (value: number) => Math.round(value * 1000) / 1000;
  return {
    width: header.width,
    height: header.height,
    fps: thousandths(header.fps),
    duration: thousandths(header.duration ?? 0),
    codec: header.codec,
    totalFrames: reading.framesInFile,
    processedFrames: reading.framesRead,
    frames: frames as VideoFindings['frames'],
    truncated,
    totals,
    ...(unique === undefined ? {} : { unique }),
  };
}

/** Frames that will be decoded, as far as the header tells; 0 where it does not. */
function framesToDecode(header: VideoHeader, endSeconds: number | undefined): number {
  const all = header.frames ?? Math.round((header.duration ?? 0) * header.fps);
  return endSeconds === undefined ? all : Math.min(all, Math.ceil(endSeconds * header.fps));
}

/** The boxes of an analysed frame, to be drawn; one thing keeps its colour and its movement by its track. */
function toDraw(entry: FrameEntry): FrameBoxes {
  const found: { track_id?: number | undefined }[] = 'faces' in entry ? entry.faces : entry.detections;
  const boxes = boxesToDraw('faces' in entry ? { faces: entry.faces } : { objects: entry.detections });
  return { index: entry.frame, boxes: boxes.map((box, index) => ({ ...box, trackId: found[index]?.track_id })) };
}

/**
 * One video from file to findings: decoding runs beside detection, in the detector's own size, and where a copy with
 * boxes is wanted it is drawn beside both.
 *
 * @throws AppError UNREADABLE_MEDIA, with the frames read so far where the video breaks in the middle
 */
export async function detectInVideo(
  task: VideoTask,
  detector: Detector,
  limits: { pixels: number; renderThreads: number },
  report: (progress: RunningProgress) => void,
): Promise<LaneAnswer & { ok: true }> {
  const startedAt = performance.now();
  const header = await probeVideo(task.path, await readHead(task.path), limits);
  const { frame_skip: frameSkip = 1, start, end, track } = task.options;
  const { json, lines, annotated } = task.files;
  const options = detectOptions(task.options);
  const tracker = track === false ? undefined : createTracker();
  const file = openDetectionsFile(json, lines);
  const progress = createProgress(framesToDecode(header, annotated === null ? end : undefined), report);
  const video = readVideoFrames(task.path, header, {
    size: detector.frameSize(header, options),
    pixels: limits.pixels,
    frameSkip,
    startSeconds: start,
    endSeconds: end,
  });
  const analysis: Analysis = {
    frames: [],
    truncated: false,
    totals: {},
    timings: { decode: 0, inference: 0, postprocess: 0 },
  };
  let listBytes = 0;

  async function keep(entry: FrameEntry): Promise<void> {
    countLabels(entry, analysis.totals);
    await file.add(entry);
    if (analysis.truncated) return;
    listBytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (listBytes > LIST_BYTES) analysis.truncated = true;
    else analysis.frames.push(entry);
  }

  /** Looks at frame after frame, as fast as they are asked for. */
  async function* analysed(): AsyncGenerator<FrameBoxes, void, undefined> {
    const { timings } = analysis;
    let waitingSince = performance.now();
    for await (const { frame, index, timestamp } of video) {
      timings.decode += performance.now() - waitingSince;
      const outcome = await detector.detect(frame, options);
      timings.inference += outcome.inferenceMs;
      timings.postprocess += outcome.postprocessMs;
      const findings = toFindings(task.kind, outcome.detections, frame, header);
      const entry = frameEntry(task.kind, findings, index, timestamp, tracker);
      if (outcome.detections.length > 0) await keep(entry);
      if (annotated === null) progress.at(index + 1);
      yield toDraw(entry);
      waitingSince = performance.now();
    }
    const reading = await video.ended;
    if (!reading.endedCleanly) throw brokenVideo(reading);
  }

  const ticker = setInterval(() => {
    if (annotated === null) progress.at(video.decoded());
  }, TICK_MS);
  try {
    progress.at(0);
    if (annotated === null) for await (const _ of analysed());
    else {
      await annotateVideo({
        source: task.path,
        header,
        boxes: analysed(),
        frameSkip,
        target: annotated,
        pixels: limits.pixels,
        threads: limits.renderThreads,
        onProgress: (frames) => progress.at(frames),
      });
    }
    const reading = await video.ended;
    await file.end();
    return {
      ok: true,
      findings: {},
      video: found(header, reading, analysis, tracker?.unique()),
      timings: timed(analysis, annotated === null ? undefined : performance.now() - startedAt),
    };
  } finally {
    clearInterval(ticker);
    file.abandon();
    await video.close();
  }
}
