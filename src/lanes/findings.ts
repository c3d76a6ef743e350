import type { Kind } from '../contract/kinds.ts';
import type { BoundingBox, DetectedObject, Face, Landmarks } from '../contract/results.ts';
import type { Detection, FaceLandmarks, Size } from '../detect/detector.ts';
import type { Findings } from './protocol.ts';

const clamp = (value: number, min: number, max: number) => Math.min(Math.max(value, min), max);
const rounded = (confidence: number) => Math.round(clamp(confidence, 0, 1) * 10_000) / 10_000;

/** From fractional pixels of the frame to whole pixels of the picture, at least 1x1 and inside it. */
function toPictureBox(detection: Detection, frame: Size, picture: Size): BoundingBox {
  const scaleX = picture.width / frame.width;
  const scaleY = picture.height / frame.height;
  const x = clamp(Math.round(detection.x * scaleX), 0, picture.width - 1);
  const y = clamp(Math.round(detection.y * scaleY), 0, picture.height - 1);
  const right = clamp(Math.round((detection.x + detection.width) * scaleX), x + 1, picture.width);
  const bottom = clamp(Math.round((detection.y + detection.height) * scaleY), y + 1, picture.height);
  return { x, y, width: right - x, height: bottom - y };
}

function toPictureLandmarks(landmarks: FaceLandmarks, frame: Size, picture: Size): Landmarks {
  const point = ([x, y]: [number, number]) => ({
    x: clamp(Math.round((x * picture.width) / frame.width), 0, picture.width - 1),
    y: clamp(Math.round((y * picture.height) / frame.height), 0, picture.height - 1),
  });
  return {
    right_eye: point(landmarks.right_eye),
    left_eye: point(landmarks.left_eye),
    nose: point(landmarks.nose),
    mouth_right: point(landmarks.mouth_right),
    mouth_left: point(landmarks.mouth_left),
  };
}

/**
 * The contract's view of what a detector found.
 *
 * @param detections by falling confidence, in pixels of `frame`
 * @param picture size in pixels as a person sees it
 */
export function toFindings(kind: Kind, detections: readonly Detection[], frame: Size, picture: Size): Findings {
  if (kind === 'face') {
    const faces = detections.map(
      (detection, index): Face => ({
        face_id: index + 1,
        bbox: toPictureBox(detection, frame, picture),
        confidence: rounded(detection.confidence),
        ...(detection.landmarks === undefined
          ? {}
          : { landmarks: toPictureLandmarks(detection.landmarks, frame, picture) }),
      }),
    );
    return { faces };
  }
  const objects = detections.map(
    (detection): DetectedObject => ({
      class: detection.label,
      class_id: detection.classId,
      confidence: rounded(detection.confidence),
      bbox: toPictureBox(detection, frame, picture),
    }),
  );
  return { objects };
}
