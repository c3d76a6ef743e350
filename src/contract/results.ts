import { z } from 'zod';

const pixels = z.int();

export const BoundingBox = z
  .object({ x: pixels, y: pixels, width: pixels, height: pixels })
  .meta({ id: 'BoundingBox', description: 'Pixels of the picture as a person sees it; x, y is the top left corner.' });
export type BoundingBox = z.infer<typeof BoundingBox>;

const Point = z.object({ x: pixels, y: pixels });

export const Landmarks = z
  .object({ right_eye: Point, left_eye: Point, nose: Point, mouth_right: Point, mouth_left: Point })
  .meta({ id: 'Landmarks', description: "Right and left are the subject's own." });
export type Landmarks = z.infer<typeof Landmarks>;

export const Face = z
  .object({ face_id: z.int().min(1), bbox: BoundingBox, confidence: z.number(), landmarks: Landmarks.optional() })
  .meta({ id: 'Face' });
export type Face = z.infer<typeof Face>;

export const DetectedObject = z
  .object({ class: z.string(), class_id: z.int().min(0), confidence: z.number(), bbox: BoundingBox })
  .meta({ id: 'DetectedObject' });
export type DetectedObject = z.infer<typeof DetectedObject>;

export const Timings = z
  .object({
    wait: z.number().meta({ description: 'In the queue, up to the beginning of the attempt that succeeded.' }),
    decode: z.number().meta({ description: 'From the file to pixels at the size at which the model looks.' }),
    inference: z.number().meta({ description: 'The model alone.' }),
    postprocess: z.number().meta({ description: "Filling the model's input, reading its output, NMS, tracking." }),
    annotate: z.number().meta({ description: 'Drawing within the task; 0 where that is done when first asked for.' }),
    total: z.number().meta({ description: 'All of it, and what lies between.' }),
  })
  .meta({ id: 'Timings', description: 'Milliseconds.' });
export type Timings = z.infer<typeof Timings>;

const pictureFields = {
  annotated_image: z
    .string()
    .nullable()
    .meta({ description: 'URL path of the copy with boxes drawn in, null when not wanted.' }),
  original_image: z.string(),
  image: z.object({ width: pixels, height: pixels }),
  model: z.string(),
  timings_ms: Timings,
};

export const FaceImageResult = z
  .object({ success: z.literal(true), faces_detected: z.int(), faces: z.array(Face), ...pictureFields })
  .meta({ id: 'FaceImageResult' });
export type FaceImageResult = z.infer<typeof FaceImageResult>;

export const ObjectImageResult = z
  .object({ success: z.literal(true), objects_detected: z.int(), objects: z.array(DetectedObject), ...pictureFields })
  .meta({ id: 'ObjectImageResult' });
export type ObjectImageResult = z.infer<typeof ObjectImageResult>;

const trackId = z
  .int()
  .min(1)
  .optional()
  .meta({ description: 'The same number in every frame in which it was followed.' });

export const TrackedFace = Face.extend({ track_id: trackId }).meta({ id: 'TrackedFace' });
export type TrackedFace = z.infer<typeof TrackedFace>;

export const TrackedObject = DetectedObject.extend({ track_id: trackId }).meta({ id: 'TrackedObject' });
export type TrackedObject = z.infer<typeof TrackedObject>;

const frameFields = {
  frame: z.int().min(0).meta({ description: 'Number in the whole file, from 0.' }),
  timestamp: z.number().meta({ description: 'Seconds from the first frame.' }),
};

export const FrameWithFaces = z
  .object({ ...frameFields, faces_count: z.int(), faces: z.array(TrackedFace) })
  .meta({ id: 'FrameWithFaces' });
export type FrameWithFaces = z.infer<typeof FrameWithFaces>;

export const FrameWithObjects = z
  .object({ ...frameFields, objects: z.array(z.string()), detections: z.array(TrackedObject) })
  .meta({ id: 'FrameWithObjects' });
export type FrameWithObjects = z.infer<typeof FrameWithObjects>;

const videoFields = {
  success: z.literal(true),
  total_frames: z.int().meta({ description: 'Frames in the file.' }),
  processed_frames: z.int().meta({ description: 'Frames analysed.' }),
  annotated_video: z
    .string()
    .nullable()
    .meta({ description: 'URL path of the copy with boxes drawn in, null when not wanted.' }),
  original_video: z.string(),
  detections_url: z
    .string()
    .meta({ description: 'All frames with detections as JSON; with .ndjson in place of .json a line each.' }),
  truncated: z.boolean().meta({ description: 'True where the list here holds only the first frames.' }),
  video: z.object({ width: pixels, height: pixels, fps: z.number(), duration: z.number(), codec: z.string() }),
  model: z.string(),
  timings_ms: Timings,
};

export const FaceVideoResult = z
  .object({
    ...videoFields,
    total_faces_detected: z.int(),
    frames_with_faces: z.array(FrameWithFaces),
    unique_faces: z.int().optional(),
  })
  .meta({ id: 'FaceVideoResult' });
export type FaceVideoResult = z.infer<typeof FaceVideoResult>;

export const ObjectVideoResult = z
  .object({
    ...videoFields,
    object_summary: z.record(z.string(), z.int()),
    frames_with_objects: z.array(FrameWithObjects),
    unique_objects: z.record(z.string(), z.int()).optional(),
  })
  .meta({ id: 'ObjectVideoResult' });
export type ObjectVideoResult = z.infer<typeof ObjectVideoResult>;

export const ImageResult = z.union([FaceImageResult, ObjectImageResult]);
export type ImageResult = z.infer<typeof ImageResult>;

export const VideoResult = z.union([FaceVideoResult, ObjectVideoResult]);
export type VideoResult = z.infer<typeof VideoResult>;

export const TaskResult = z.union([FaceImageResult, ObjectImageResult, FaceVideoResult, ObjectVideoResult]);
export type TaskResult = z.infer<typeof TaskResult>;
