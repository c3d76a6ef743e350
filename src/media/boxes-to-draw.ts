import type { BoundingBox, DetectedObject, Face } from '../contract/results.ts';

/** A box to draw into a picture, in its pixels. Boxes of one `group` share a colour. */
export type BoxToDraw = { bbox: BoundingBox; text: string; group: number; points?: { x: number; y: number }[] };

const percent = (confidence: number) => `${Math.round(confidence * 100)}%`;

/** What the annotated copy of a picture shows: faces with their landmarks, objects coloured by class. */
export function boxesToDraw(found: {
  faces?: Face[] | undefined;
  objects?: DetectedObject[] | undefined;
}): BoxToDraw[] {
  const faces = (found.faces ?? []).map(
    (face): BoxToDraw => ({
      bbox: face.bbox,
      text: `face ${face.face_id} ${percent(face.confidence)}`,
      group: 0,
      ...(face.landmarks === undefined ? {} : { points: Object.values(face.landmarks) }),
    }),
  );
  const objects = (found.objects ?? []).map(
    (object): BoxToDraw => ({
      bbox: object.bbox,
      text: `${object.class} ${percent(object.confidence)}`,
      group: object.class_id,
    }),
  );
  return [...faces, ...objects];
}
