/** x, y of the top left corner, width and height, in pixels. */
export type Box = readonly [x: number, y: number, width: number, height: number];

export type Truth = {
  box: Box;
  /** A crowd region: any number of detections inside it neither count nor hurt. */
  crowd: boolean;
  /** A box that neither rewards whoever finds it nor punishes. */
  ignore: boolean;
};

export type Found = { box: Box; score: number };

/** What is there and what was found of one class in one picture. */
export type Sample = { truths: readonly Truth[]; found: readonly Found[] };

/** The IoU thresholds of COCO's AP50-95. */
export const COCO_THRESHOLDS: readonly number[] = Array.from({ length: 10 }, (_, step) => 0.5 + step * 0.05);

const RECALL_POINTS: readonly number[] = Array.from({ length: 101 }, (_, step) => step * 0.01);

/** Detections of one class in one picture that count, the best first. */
const MAX_DETECTIONS = 100;

/** Intersection over union, 0 to 1; for a crowd the intersection over the detection's own area. */
export function overlap(found: Box, truth: Pick<Truth, 'box' | 'crowd'>): number {
  const [ax, ay, aw, ah] = found;
  const [bx, by, bw, bh] = truth.box;
  const width = Math.min(ax + aw, bx + bw) - Math.max(ax, bx);
  const height = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (truth.crowd ? aw * ah : aw * ah + bw * bh - shared);
}

/** What became of a detection: it found something that counts, something that does not, or nothing. */
export type Verdict = 'hit' | 'ignored' | 'false';

export type Judged = { score: number; verdict: Verdict };

/**
 * Assigns detections to what is there as pycocotools' `evaluateImg` does: by falling score, each takes the free truth
 * of the highest IoU at or above the threshold, one that is to be ignored only where none that counts is left. What is
 * to be ignored can be taken again and again.
 */
export function judge({ truths, found }: Sample, threshold: number): Judged[] {
  const isIgnored = (truth: Truth) => truth.crowd || truth.ignore;
  const ordered = [...truths.filter((truth) => !isIgnored(truth)), ...truths.filter(isIgnored)];
  const taken = new Set<Truth>();
  return found
    .toSorted((a, b) => b.score - a.score)
    .slice(0, MAX_DETECTIONS)
    .map(({ box, score }) => {
      let best: Truth | undefined;
      let bestOverlap = Math.min(threshold, 1 - 1e-10);
      for (const truth of ordered) {
        if (taken.has(truth)) continue;
        if (best !== undefined && !isIgnored(best) && isIgnored(truth)) break;
        const iou = overlap(box, truth);
        if (iou < bestOverlap) continue;
        best = truth;
        bestOverlap = iou;
      }
      if (best === undefined) return { score, verdict: 'false' };
      if (isIgnored(best)) return { score, verdict: 'ignored' };
      taken.add(best);
      return { score, verdict: 'hit' };
    });
}

/** How many truths count. */
export function countTruths(samples: readonly Sample[]): number {
  return samples.reduce((sum, { truths }) => sum + truths.filter((truth) => !truth.crowd && !truth.ignore).length, 0);
}

/**
 * Average precision of one class at one IoU threshold as COCO has it: the mean, over the recalls 0, 0.01 .. 1, of the
 * highest precision at that recall or above it.
 *
 * @returns 0 to 1; undefined where nothing of the class is there to be found
 */
export function averagePrecision(samples: readonly Sample[], threshold: number): number | undefined {
  const total = countTruths(samples);
  if (total === 0) return undefined;
  const judged = samples
    .flatMap((sample) => judge(sample, threshold))
    .filter(({ verdict }) => verdict !== 'ignored')
    .sort((a, b) => b.score - a.score);
  const precision: number[] = [];
  const recall: number[] = [];
  let hits = 0;
  for (const [index, { verdict }] of judged.entries()) {
    if (verdict === 'hit') hits++;
    precision.push(hits / (index + 1));
    recall.push(hits / total);
  }
  for (let index = precision.length - 2; index >= 0; index--) {
    precision[index] = Math.max(precision[index] as number, precision[index + 1] as number);
  }
  let sum = 0;
  let at = 0;
  for (const point of RECALL_POINTS) {
    while (at < recall.length && (recall[at] as number) < point) at++;
    if (at === recall.length) break;
    sum += precision[at] as number;
  }
  return sum / RECALL_POINTS.length;
}

/**
 * Mean average precision over classes and thresholds; classes of which nothing is there are left out.
 *
 * @param classes the samples of each class
 */
export function meanAveragePrecision(classes: Iterable<readonly Sample[]>, thresholds: readonly number[]): number {
  const values = [...classes].flatMap((samples) =>
    thresholds.flatMap((threshold) => averagePrecision(samples, threshold) ?? []),
  );
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

export type Rates = { hits: number; false_positives: number; truths: number; recall: number; precision: number };

/** Recall and precision of all detections that are given. */
export function ratesAt(samples: readonly Sample[], threshold: number): Rates {
  const judged = samples.flatMap((sample) => judge(sample, threshold));
  const hits = judged.filter(({ verdict }) => verdict === 'hit').length;
  const falsePositives = judged.filter(({ verdict }) => verdict === 'false').length;
  const truths = countTruths(samples);
  return {
    hits,
    false_positives: falsePositives,
    truths,
    recall: truths === 0 ? 0 : hits / truths,
    precision: hits + falsePositives === 0 ? 0 : hits / (hits + falsePositives),
  };
}
