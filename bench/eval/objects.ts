import type { ReadyModel } from '../../src/models/catalog.ts';
import { rounded } from '../report.ts';
import { COCO_THRESHOLDS, countTruths, meanAveragePrecision, type Sample } from './average-precision.ts';
import { type Detections, detectAll, type Service } from './detections.ts';
import type { LabelledSet, Labels } from './labels.ts';
import { REFERENCES } from './reference.ts';

/** As detectors are measured on COCO: weak detections too, doubles dropped late, 100 of each class. */
const COCO_OPTIONS = { confidence: '0.01', nms: '0.65', max_detections: '1000', annotate: 'false' };

/** For each class the pictures with what is there of it and what was found of it. */
export function samplesByClass(set: LabelledSet, detections: Detections): Sample[][] {
  return set.classes.map((name) =>
    set.pictures.map(({ path, truths }) => ({
      truths: truths.get(name) ?? [],
      found: (detections.get(path) ?? []).filter(({ label }) => label === name),
    })),
  );
}

async function evaluateSet(service: Service, model: ReadyModel, set: LabelledSet) {
  const paths = set.pictures.map(({ path }) => path);
  const detections = await detectAll(service, 'object', paths, { model: model.name, ...COCO_OPTIONS });
  const classes = samplesByClass(set, detections);
  return {
    pictures: paths.length,
    objects: classes.reduce((sum, samples) => sum + countTruths(samples), 0),
    classes: classes.filter((samples) => countTruths(samples) > 0).length,
    ap50_95: rounded(meanAveragePrecision(classes, COCO_THRESHOLDS), 4),
    ap50: rounded(meanAveragePrecision(classes, [0.5]), 4),
  };
}

/** COCO's average precision of a model when the service is asked. */
export async function evaluateObjects(service: Service, model: ReadyModel, labels: Labels) {
  const { objects, persons } = labels;
  const known = (set: LabelledSet | undefined) => set?.classes.some((name) => model.labels.includes(name));
  return {
    ...(objects && known(objects) ? { coco: await evaluateSet(service, model, objects) } : {}),
    ...(persons && known(persons) ? { person_val2017: await evaluateSet(service, model, persons) } : {}),
    published: model.published,
    measured_by_others: REFERENCES[model.name] ?? null,
  };
}
