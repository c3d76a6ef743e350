import type { ReadyModel } from '../../src/models/catalog.ts';
import { rounded } from '../report.ts';
import {
  averagePrecision,
  COCO_THRESHOLDS,
  countTruths,
  meanAveragePrecision,
  ratesAt,
  type Sample,
} from './average-precision.ts';
import { type Detections, detectAll, type Service } from './detections.ts';
import type { LabelledSet, Labels, PointPicture } from './labels.ts';
import { REFERENCES } from './reference.ts';

/** Some labels end at the eyebrows, others at the hairline: a stricter overlap would judge the labels. */
const FACE_IOU = 0.4;

/** For average precision, which looks at the weak detections too. */
const LOW_CONFIDENCE = 0.01;

function samplesOf(set: LabelledSet, detections: Detections): Sample[] {
  return set.pictures.map(({ path, truths }) => ({
    truths: truths.get('face') ?? [],
    found: detections.get(path) ?? [],
  }));
}

/** A face is hit by a box around the tip of its nose; each box hits one face at most. */
export function countPointHits(pictures: readonly PointPicture[], detections: Detections) {
  let faces = 0;
  let hits = 0;
  let boxes = 0;
  for (const { path, points } of pictures) {
    const left = new Set(points);
    const found = detections.get(path) ?? [];
    faces += points.length;
    boxes += found.length;
    for (const { box } of found) {
      const [x, y, width, height] = box;
      for (const point of left) {
        if (point[0] < x || point[0] > x + width || point[1] < y || point[1] > y + height) continue;
        left.delete(point);
        hits++;
        break;
      }
    }
  }
  return { faces, hits, false: boxes - hits };
}

async function evaluateLabelled(service: Service, model: ReadyModel, set: LabelledSet) {
  const paths = set.pictures.map(({ path }) => path);
  const query = { model: model.name, annotate: 'false' };
  const standard = await detectAll(service, 'face', paths, query);
  const low =
    model.defaults.confidence <= LOW_CONFIDENCE
      ? standard
      : await detectAll(service, 'face', paths, { ...query, confidence: String(LOW_CONFIDENCE) });
  const samples = samplesOf(set, low);
  const rates = ratesAt(samplesOf(set, standard), FACE_IOU);
  return {
    pictures: set.pictures.length,
    faces: countTruths(samples),
    ap_iou_0_4: rounded(averagePrecision(samples, FACE_IOU) ?? 0, 4),
    ap50: rounded(averagePrecision(samples, 0.5) ?? 0, 4),
    ap50_95: rounded(meanAveragePrecision([samples], COCO_THRESHOLDS), 4),
    at_default_threshold: {
      confidence: model.defaults.confidence,
      iou: FACE_IOU,
      recall: rounded(rates.recall, 4),
      precision: rounded(rates.precision, 4),
      hits: rates.hits,
      false: rates.false_positives,
    },
  };
}

/** How well a model finds faces when the service is asked: average precision, and what its defaults give. */
export async function evaluateFaces(service: Service, model: ReadyModel, labels: Labels) {
  const query = { model: model.name, annotate: 'false' };
  const { faces, faceless, points } = labels;
  const onFaceless = faceless && (await detectAll(service, 'face', faceless, query));
  const onPoints =
    points &&
    (await detectAll(
      service,
      'face',
      points.map(({ path }) => path),
      query,
    ));
  return {
    ...(faces ? await evaluateLabelled(service, model, faces) : {}),
    ...(onFaceless
      ? {
          without_faces: {
            pictures: onFaceless.size,
            false: [...onFaceless.values()].reduce((sum, found) => sum + found.length, 0),
          },
        }
      : {}),
    ...(points && onPoints ? { points: countPointHits(points, onPoints) } : {}),
    published: model.published,
    measured_by_others: REFERENCES[model.name] ?? null,
  };
}
