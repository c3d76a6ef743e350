import type { ReadyModel } from '../../models/catalog.ts';
import { addBox, type BoxList, createBoxList, suppress } from '../boxes.ts';
import type { Detector, DetectorSettings, Size } from '../detector.ts';
import { createSizing } from '../input-size.ts';
import type { Offset } from '../letterbox.ts';
import { type NetworkOutput, openNetwork } from '../onnx.ts';
import { detectionAt, wantedClasses } from '../outcome.ts';

const NOMINAL_SIDE = 640;

/** What the reading of an output needs to know besides the output. */
export type Reading = {
  classes: number;
  frame: Size;
  /** Where the frame lay in the model's input. */
  offset: Offset;
  confidence: number;
  /** Which classes are wanted, all when undefined. */
  keeps: readonly boolean[] | undefined;
};

/** Adds the box whose centre x, centre y, width and height lie at `at` and every `step` values after it. */
function addCentred(
  list: BoxList,
  reading: Reading,
  data: Float32Array,
  at: number,
  step: number,
  score: number,
  classId: number,
  row: number,
): void {
  if (reading.keeps !== undefined && reading.keeps[classId] !== true) return;
  const width = data[at + 2 * step] as number;
  const height = data[at + 3 * step] as number;
  const left = (data[at] as number) - width / 2 - reading.offset.left;
  const top = (data[at + step] as number) - height / 2 - reading.offset.top;
  addBox(list, reading.frame, left, top, left + width, top + height, score, classId, row);
}

/** The best class of each box, kept for the next picture. */
let best = { score: new Float32Array(0), classId: new Int32Array(0) };

/**
 * [1, 4 + classes, boxes]: centre and size in pixels of the input, then class scores (YOLOv8, v9, 11, 12).
 * Goes class by class, as the scores lie in memory.
 */
export function readChannelsFirst(list: BoxList, { data, dims }: NetworkOutput, reading: Reading): void {
  const boxes = dims[2] ?? 0;
  if (best.score.length < boxes) best = { score: new Float32Array(boxes), classId: new Int32Array(boxes) };
  const { score: bestScore, classId: bestClass } = best;
  bestClass.fill(-1, 0, boxes);
  for (let classId = 0; classId < reading.classes; classId++) {
    const start = (4 + classId) * boxes;
    for (let box = 0; box < boxes; box++) {
      const score = data[start + box] as number;
      if (score >= reading.confidence && (score > (bestScore[box] as number) || bestClass[box] === -1)) {
        bestScore[box] = score;
        bestClass[box] = classId;
      }
    }
  }
  for (let box = 0; box < boxes; box++) {
    const classId = bestClass[box] as number;
    if (classId === -1) continue;
    addCentred(list, reading, data, box, boxes, bestScore[box] as number, classId, box);
  }
}

/**
 * [1, boxes, 4 + classes] as above but row by row, or [1, boxes, 5 + classes] with objectness after the box, where
 * the score is objectness x class (YOLOv5, v7).
 */
export function readRows(
  list: BoxList,
  { data, dims }: NetworkOutput,
  reading: Reading,
  withObjectness: boolean,
): void {
  const boxes = dims[1] ?? 0;
  const columns = dims[2] ?? 0;
  const firstClass = withObjectness ? 5 : 4;
  for (let box = 0; box < boxes; box++) {
    const at = box * columns;
    const objectness = withObjectness ? (data[at + 4] as number) : 1;
    if (!(objectness >= reading.confidence)) continue;
    let bestClass = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let classId = 0; classId < reading.classes; classId++) {
      const score = data[at + firstClass + classId] as number;
      if (score > bestScore) {
        bestScore = score;
        bestClass = classId;
      }
    }
    const score = objectness * bestScore;
    if (!(score >= reading.confidence)) continue;
    addCentred(list, reading, data, at, 1, score, bestClass, box);
  }
}

/** [1, boxes, 6]: corners in pixels of the input, score, class; doubles are suppressed already (YOLOv10, 26). */
export function readEndToEnd(list: BoxList, { data, dims }: NetworkOutput, reading: Reading): void {
  const boxes = dims[1] ?? 0;
  const { left, top } = reading.offset;
  for (let box = 0; box < boxes; box++) {
    const at = box * 6;
    const score = data[at + 4] as number;
    const classId = data[at + 5] as number;
    if (!(score >= reading.confidence && classId >= 0 && classId < reading.classes)) continue;
    if (!Number.isInteger(classId) || (reading.keeps !== undefined && reading.keeps[classId] !== true)) continue;
    const x1 = (data[at] as number) - left;
    const y1 = (data[at + 1] as number) - top;
    const x2 = (data[at + 2] as number) - left;
    const y2 = (data[at + 3] as number) - top;
    addBox(list, reading.frame, x1, y1, x2, y2, score, classId, box);
  }
}

/** What each layout's second and third dimension must be, null where any will do. */
function expectedDims(layout: ReadyModel['layout'], classes: number): [number | null, number | null] | undefined {
  if (layout === 'yolov8') return [4 + classes, null];
  if (layout === 'yolov8-transposed') return [null, 4 + classes];
  if (layout === 'yolov5') return [null, 5 + classes];
  if (layout === 'end-to-end') return [null, 6];
  return undefined;
}

function read(list: BoxList, model: ReadyModel, output: NetworkOutput, reading: Reading): void {
  const expected = expectedDims(model.layout, reading.classes);
  const fits = expected?.every((dimension, index) => dimension === null || dimension === output.dims[index + 1]);
  if (fits !== true || output.dims.length !== 3) {
    throw new Error(`The output of ${model.name} is not of the layout ${model.layout}.`);
  }
  if (model.layout === 'yolov8') readChannelsFirst(list, output, reading);
  else if (model.layout === 'end-to-end') readEndToEnd(list, output, reading);
  else readRows(list, output, reading, model.layout === 'yolov5');
}

/** Exports of Ultralytics' YOLO and models like them: want RGB 0-1, the picture in the middle, 114 around it. */
export async function create(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  const network = await openNetwork(model.path, settings, {
    order: 'rgb',
    scale: (value) => value / 255,
    padding: 114,
    placement: 'centre',
  });
  const nominal = Math.max(model.input.width ?? NOMINAL_SIDE, model.input.height ?? NOMINAL_SIDE);
  const { frameSize, inputFor } = createSizing(network.declared, () => nominal);
  const list = createBoxList();

  return {
    frameSize,
    async detect(frame, options) {
      const { outputs, offset, fillMs, inferenceMs } = await network.infer(frame, inputFor(frame));
      const startedAt = performance.now();
      const [output] = Object.values(outputs);
      if (output === undefined) throw new Error(`The model ${model.name} gave no output.`);
      list.count = 0;
      read(list, model, output, {
        classes: model.labels.length,
        frame,
        offset,
        confidence: options.confidence,
        keeps: wantedClasses(model.labels, options.classes),
      });
      const nms = model.layout === 'end-to-end' ? null : options.nms;
      const detections = suppress(list, nms, options.maxDetections).map((index) =>
        detectionAt(list, index, frame, model.labels),
      );
      return { detections, inferenceMs, postprocessMs: fillMs + performance.now() - startedAt };
    },
    provider: network.provider,
    close: () => network.close(),
  };
}
