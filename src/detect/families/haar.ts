import { readFile } from 'node:fs/promises';
import type { ReadyModel } from '../../models/catalog.ts';
import { addBox, createBoxList, suppress } from '../boxes.ts';
import type { Detector, DetectorSettings, Frame } from '../detector.ts';
import { fitWithin } from '../letterbox.ts';
import { loadCascade } from '../opencv.ts';
import { detectionAt, wantedClasses } from '../outcome.ts';

const PARAMETERS = { scaleFactor: 1.1, minNeighbors: 5, minSide: 30 };

// ITU-R BT.601 luma in 14-bit integers, as OpenCV's cvtColor rounds it.
const RED = 4899;
const GREEN = 9617;
const BLUE = 1868;
const SHIFT = 14;
const HALF = 1 << (SHIFT - 1);

/** Writes a frame's luma, one byte a pixel. */
export function fillGrey(grey: Uint8Array, { data }: Frame): void {
  let from = 0;
  for (let to = 0; to < grey.length; to++) {
    const red = data[from] as number;
    const green = data[from + 1] as number;
    const blue = data[from + 2] as number;
    grey[to] = (red * RED + green * GREEN + blue * BLUE + HALF) >> SHIFT;
    from += 3;
  }
}

/** A cascade's level weight as a confidence, 0 to 1: w / (1 + w) with w no less than 0. */
export function confidenceOf(weight: number): number {
  const w = Math.max(weight, 0);
  return w === Number.POSITIVE_INFINITY ? 1 : w / (1 + w);
}

/** OpenCV's Haar cascades (Viola and Jones): looks at the picture itself, reduced to the longest side of the settings. */
export async function create(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  const cascade = await loadCascade(await readFile(model.path), PARAMETERS);
  const list = createBoxList();

  return {
    frameSize(picture) {
      const side = Math.min(settings.haarLongestSide, Math.max(picture.width, picture.height));
      return fitWithin(picture, { width: side, height: side });
    },
    async detect(frame, options) {
      if (Math.min(frame.width, frame.height) < PARAMETERS.minSide)
        return { detections: [], inferenceMs: 0, postprocessMs: 0 };
      let fillMs = 0;
      const startedAt = performance.now();
      const findings = cascade.detect(frame.width, frame.height, (grey) => {
        const fillStartedAt = performance.now();
        fillGrey(grey, frame);
        fillMs = performance.now() - fillStartedAt;
      });
      const detectedAt = performance.now();
      list.count = 0;
      const wanted = wantedClasses(model.labels, options.classes)?.[0] !== false;
      for (const [index, { x, y, width, height, weight }] of findings.entries()) {
        const confidence = confidenceOf(weight);
        if (!wanted || !(confidence >= options.confidence)) continue;
        addBox(list, frame, x, y, x + width, y + height, confidence, 0, index);
      }
      const detections = suppress(list, options.nms, options.maxDetections).map((index) =>
        detectionAt(list, index, frame, model.labels),
      );
      return {
        detections,
        inferenceMs: detectedAt - startedAt - fillMs,
        postprocessMs: fillMs + performance.now() - detectedAt,
      };
    },
    provider: 'cpu',
    async close() {
      cascade.close();
    },
  };
}
