import type { TaskResult, Timings } from '../contract/results.ts';
import type { JobData } from '../contract/task.ts';
import type { Findings, LaneAnswer, VideoFindings } from '../lanes/protocol.ts';
import { detectionsName, parseName, urlOf } from '../storage/names.ts';

const urlOrNull = (name: string | null) => (name === null ? null : urlOf(name));

function ofPicture(
  { kind, file, annotated, options }: JobData,
  { faces = [], objects = [] }: Findings,
  timings: Timings,
): TaskResult {
  const common = {
    annotated_image: urlOrNull(annotated),
    original_image: urlOf(file.name),
    image: { width: file.width, height: file.height },
    model: options.model,
    timings_ms: timings,
  };
  return kind === 'face'
    ? { success: true, faces_detected: faces.length, faces, ...common }
    : { success: true, objects_detected: objects.length, objects, ...common };
}

function ofVideo({ kind, file, annotated, options }: JobData, video: VideoFindings, timings: Timings): TaskResult {
  const { width, height, fps, duration, codec, totals, unique } = video;
  const common = {
    success: true as const,
    total_frames: video.totalFrames,
    processed_frames: video.processedFrames,
    annotated_video: urlOrNull(annotated),
    original_video: urlOf(file.name),
    detections_url: urlOf(detectionsName(parseName(file.name)?.base ?? '', 'json')),
    truncated: video.truncated,
    video: { width, height, fps, duration, codec },
    model: options.model,
    timings_ms: timings,
  };
  if (kind === 'face') {
    return {
      ...common,
      total_faces_detected: totals.face ?? 0,
      frames_with_faces: video.frames.flatMap((frame) => ('faces' in frame ? [frame] : [])),
      ...(unique === undefined ? {} : { unique_faces: unique.face ?? 0 }),
    };
  }
  return {
    ...common,
    object_summary: totals,
    frames_with_objects: video.frames.flatMap((frame) => ('detections' in frame ? [frame] : [])),
    ...(unique === undefined ? {} : { unique_objects: unique }),
  };
}

/** The contract's result from what a detection process found. */
export function resultOf(data: JobData, answer: LaneAnswer & { ok: true }, timings: Timings): TaskResult {
  return answer.video === undefined ? ofPicture(data, answer.findings, timings) : ofVideo(data, answer.video, timings);
}
