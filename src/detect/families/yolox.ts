import type { ReadyModel } from '../../models/catalog.ts';
import { addBox, type BoxList, createBoxList, suppress } from '../boxes.ts';
import type { Detector, DetectorSettings, Size } from '../detector.ts';
import { createSizing } from '../input-size.ts';
import { openNetwork } from '../onnx.ts';
import { detectionAt, wantedClasses } from '../outcome.ts';

const STRIDES = [8, 16, 32] as const;
const NOMINAL_SIDE = 640;

/**
 * Adds the boxes of a YOLOX output whose score (objectness x best class) reaches the threshold.
 *
 * Rows are the cells of the grids of stride 8, 16 and 32, row by row, each x, y, w, h, objectness, classes;
 * centre = (cell + xy) x stride, size = exp(wh) x stride, as YOLOX's own `demo_postprocess` has it.
 *
 * @param data rows x (5 + classes)
 * @param input the size of the model's input
 * @param keeps which classes are wanted, all when undefined
 */
export function decodeYolox(
  list: BoxList,
  data: Float32Array,
  classes: number,
  input: Size,
  frame: Size,
  confidence: number,
  keeps: readonly boolean[] | undefined,
): void {
  const columns = 5 + classes;
  let row = 0;
  for (const stride of STRIDES) {
    const gridWidth = Math.floor(input.width / stride);
    const cells = gridWidth * Math.floor(input.height / stride);
    for (let cell = 0; cell < cells; cell++, row++) {
      const at = row * columns;
      const objectness = data[at + 4] as number;
      if (!(objectness >= confidence)) continue;
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (let classId = 0; classId < classes; classId++) {
        const score = data[at + 5 + classId] as number;
        if (score > bestScore) {
          bestScore = score;
          best = classId;
        }
      }
      const score = objectness * bestScore;
      if (!(score >= confidence) || (keeps !== undefined && keeps[best] !== true)) continue;
      const x = ((cell % gridWidth) + (data[at] as number)) * stride;
      const y = (Math.floor(cell / gridWidth) + (data[at + 1] as number)) * stride;
      const halfWidth = (Math.exp(data[at + 2] as number) * stride) / 2;
      const halfHeight = (Math.exp(data[at + 3] as number) * stride) / 2;
      addBox(list, frame, x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight, score, best, row);
    }
  }
}

/** YOLOX: wants BGR 0-255, the picture at the top left, 114 around it. */
export async function create(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  const network = await openNetwork(model.path, settings, {
    order: 'bgr',
    scale: (value) => value,
    padding: 114,
    placement: 'corner',
  });
  const { frameSize, inputFor } = createSizing(network.declared, () => model.input.width ?? NOMINAL_SIDE);
  const [outputName] = network.outputNames;
  const list = createBoxList();

  return {
    frameSize,
    async detect(frame, options) {
      const input = inputFor(frame);
      const { outputs, fillMs, inferenceMs } = await network.infer(frame, input);
      const startedAt = performance.now();
      const output = outputs[outputName as string];
      const classes = model.labels.length;
      if (output?.dims.at(-1) !== 5 + classes) throw new Error(`The output of ${model.name} does not fit its labels.`);
      list.count = 0;
      const keeps = wantedClasses(model.labels, options.classes);
      decodeYolox(list, output.data, classes, input, frame, options.confidence, keeps);
      const detections = suppress(list, options.nms, options.maxDetections).map((index) =>
        detectionAt(list, index, frame, model.labels),
      );
      return { detections, inferenceMs, postprocessMs: fillMs + performance.now() - startedAt };
    },
    provider: network.provider,
    close: () => network.close(),
  };
}
