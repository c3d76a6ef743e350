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
    wait: z.number(),
    decode: z.number(),
    inference: z.number(),
    postprocess: z.number(),
    annotate: z.number(),
    total: z.number(),
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

export const TaskResult = z.union([FaceImageResult, ObjectImageResult]);
export type TaskResult = z.infer<typeof TaskResult>;
