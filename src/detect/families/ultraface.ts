import type { ReadyModel } from '../../models/catalog.ts';
import { addBox, createBoxList, suppress } from '../boxes.ts';
import type { Detector, DetectorSettings } from '../detector.ts';
import { createSizing } from '../input-size.ts';
import { openNetwork } from '../onnx.ts';
import { detectionAt, wantedClasses } from '../outcome.ts';

const NOMINAL_SIDE = 320;
const BACKGROUND_AND_FACE = 2;

/**
 * UltraFace: wants RGB as (value - 127) / 128; gives `scores` [1, boxes, 2] (background, face) and `boxes`
 * [1, boxes, 4], corners as fractions of the input. Its authors stretch the picture; here it keeps its aspect ratio.
 */
export async function create(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  const network = await openNetwork(model.path, settings, {
    order: 'rgb',
    scale: (value) => (value - 127) / 128,
    padding: 127,
    placement: 'corner',
  });
  const { frameSize, inputFor } = createSizing(network.declared, () => NOMINAL_SIDE);
  const list = createBoxList();

  return {
    frameSize,
    async detect(frame, options) {
      const input = inputFor(frame);
      const { outputs, fillMs, inferenceMs } = await network.infer(frame, input);
      const startedAt = performance.now();
      const { scores, boxes } = outputs;
      if (scores === undefined || boxes === undefined) throw new Error(`The outputs of ${model.name} are not its own.`);
      list.count = 0;
      const wanted = wantedClasses(model.labels, options.classes)?.[0] !== false;
      for (let box = 0; wanted && box * BACKGROUND_AND_FACE < scores.data.length; box++) {
        const score = scores.data[box * BACKGROUND_AND_FACE + 1] as number;
        if (!(score >= options.confidence)) continue;
        const x = (side: number) => (boxes.data[box * 4 + side] as number) * input.width;
        const y = (side: number) => (boxes.data[box * 4 + side] as number) * input.height;
        addBox(list, frame, x(0), y(1), x(2), y(3), score, 0, box);
      }
      const detections = suppress(list, options.nms, options.maxDetections).map((index) =>
        detectionAt(list, index, frame, model.labels),
      );
      return { detections, inferenceMs, postprocessMs: fillMs + performance.now() - startedAt };
    },
    provider: network.provider,
    close: () => network.close(),
  };
}
