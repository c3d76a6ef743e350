import { z } from 'zod';
import { KIND_NAMES } from '../contract/kinds.ts';
import { TaskOptions } from '../contract/options.ts';
import { DetectedObject, Face, FrameWithFaces, FrameWithObjects } from '../contract/results.ts';
import { RunningProgress } from '../contract/running-progress.ts';
import type { Provider } from '../detect/detector.ts';
import { ERROR_CODES } from '../errors.ts';
import type { ReadyModel } from '../models/catalog.ts';

/** What a detection process is told once, before any task. */
export type LaneSettings = {
  modelsDir: string;
  shippedManifest: string;
  /** Models to load and warm before the first task. */
  warm: string[];
  executionProviders: Provider[];
  haarLongestSide: number;
  imagePixels: number;
  /** Threads that may encode a video. */
  renderThreads: number;
  /** Folder in which compiled code may be kept. */
  compiledCode?: string | undefined;
};

/** One attempt at one picture. Paths are local; nothing of HTTP or queues gets in here. */
export const PictureTask = z.object({
  taskId: z.string(),
  kind: z.enum(KIND_NAMES),
  path: z.string(),
  mime: z.string(),
  /** Size in pixels as a person sees it. */
  width: z.int(),
  height: z.int(),
  options: TaskOptions,
  /** Temporary file to draw the annotated copy into, null when none is wanted with the task. */
  annotateInto: z.string().nullable(),
});
export type PictureTask = z.infer<typeof PictureTask>;

/** One attempt at one video. The files are temporary ones that the worker gives their names when all went well. */
export const VideoTask = z.object({
  taskId: z.string(),
  kind: z.enum(KIND_NAMES),
  path: z.string(),
  options: TaskOptions,
  files: z.object({
    json: z.string(),
    lines: z.string(),
    /** Null when no copy with boxes is wanted. */
    annotated: z.string().nullable(),
  }),
});
export type VideoTask = z.infer<typeof VideoTask>;

export type LaneTask = ({ media: 'image' } & PictureTask) | ({ media: 'video' } & VideoTask);

export const LaneTimings = z.object({
  decode: z.number(),
  inference: z.number(),
  postprocess: z.number(),
  annotate: z.number(),
});

export const Findings = z.object({
  faces: z.array(Face).optional(),
  objects: z.array(DetectedObject).optional(),
});
export type Findings = z.infer<typeof Findings>;

export const VideoFindings = z.object({
  width: z.int(),
  height: z.int(),
  fps: z.number(),
  duration: z.number(),
  codec: z.string(),
  totalFrames: z.int(),
  processedFrames: z.int(),
  /** The first frames with detections, as many as a result may hold. */
  frames: z.union([z.array(FrameWithFaces), z.array(FrameWithObjects)]),
  truncated: z.boolean(),
  /** Detections of each label in all analysed frames. */
  totals: z.record(z.string(), z.int()),
  /** Different things of each label, where they were followed. */
  unique: z.record(z.string(), z.int()).optional(),
});
export type VideoFindings = z.infer<typeof VideoFindings>;

/** A detection process never throws across the channel: it says how it went. */
export const LaneAnswer = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), findings: Findings, video: VideoFindings.optional(), timings: LaneTimings }),
  z.object({
    ok: z.literal(false),
    /** True where another attempt may help. */
    transient: z.boolean(),
    code: z.enum(ERROR_CODES),
    message: z.string(),
    details: z.array(z.unknown()).optional(),
    /** For the operator's log only. */
    cause: z.string().optional(),
  }),
]);
export type LaneAnswer = z.infer<typeof LaneAnswer>;

/**
 * What a worker says to a detection process: its settings first and once, with those of the models to warm that are
 * there, then one task at a time. A process takes its worker's word: zod, which could check it, takes a fifth as long to load as all else.
 */
export type LaneOrder = { do: 'warm'; settings: LaneSettings; models: ReadyModel[] } | { do: 'task'; task: LaneTask };

/** What a detection process says to its worker. */
export const LaneMessage = z.discriminatedUnion('is', [
  z.object({
    is: z.literal('ready'),
    /** Why a model that was to be warm is not: a sentence each. */
    problems: z.array(z.string()),
  }),
  /** A model is in memory from now on. */
  z.object({ is: z.literal('loaded'), model: z.string(), provider: z.enum(['cpu', 'cuda']) }),
  /** The task has arrived: from here on a death is one that the task may have caused. */
  z.object({ is: z.literal('begun') }),
  z.object({ is: z.literal('progress'), progress: RunningProgress }),
  z.object({
    is: z.literal('answer'),
    answer: LaneAnswer,
    /** CPU seconds that ffmpeg and ffprobe have taken for the task. */
    ffmpegSeconds: z.number(),
  }),
]);
export type LaneMessage = z.infer<typeof LaneMessage>;
