import type { Kind } from '../contract/kinds.ts';
import type { Dimension, OnnxDescription, TensorDescription } from './onnx-metadata.ts';
import { parseNames, parseNumbers } from './python-literal.ts';

/** A model whose input or output is none that a detector here reads; the sentences say what was seen. */
export class LayoutError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LayoutError';
  }
}

export type InputSize = { width: number; height: number; free: boolean };

/** What an output was when the model ran once on a plain picture. */
export type SeenOutput = { name: string; dims: readonly number[]; data: ArrayLike<number> };

/** Layouts that a file of one's own may turn out to have. */
type Layout = 'yunet' | 'ultraface' | 'yolox' | 'yolov5' | 'yolov8' | 'yolov8-transposed' | 'end-to-end';

export type RecognisedLayout = {
  task: Kind;
  family: string;
  layout: Layout;
  labels: string[];
  defaults: { confidence: number; nms: number };
};

const NOMINAL_SIDE = 640;
const LARGEST_SIDE = 4096;
const COCO_CLASSES = 80;

/** Strides of the grids that YOLO models have, by their number of levels. */
const STRIDE_SETS = [
  [8, 16, 32],
  [8, 16, 32, 64],
  [4, 8, 16, 32],
  [16, 32],
];
const ANCHORS_PER_CELL = 3;

/** YOLOX's own decoding knows these only. */
const YOLOX_STRIDES = [8, 16, 32];

const TASK_NAMES: Readonly<Record<string, string>> = {
  segment: 'segmentation',
  semantic: 'segmentation',
  pose: 'pose estimation',
  obb: 'oriented boxes',
  classify: 'classification',
};

const shapeText = (shape: readonly Dimension[]) => `[${shape.map((dimension) => dimension ?? '?').join(', ')}]`;

/** The one picture that a model takes. */
function pictureInput({ inputs }: OnnxDescription): TensorDescription {
  const [input, ...others] = inputs;
  const seen = inputs.map(({ name, type, shape }) => `${name} ${type} ${shapeText(shape)}`).join(', ') || 'none';
  const [batch, channels] = input?.shape ?? [];
  const fits =
    input !== undefined &&
    others.length === 0 &&
    input.shape.length === 4 &&
    (typeof batch !== 'number' || batch === 1) &&
    (typeof channels !== 'number' || channels === 3) &&
    (input.type === 'float32' || input.type === 'float16');
  if (!fits) {
    throw new LayoutError(`Expected one input float32 or float16 [1, 3, height, width]; seen: ${seen}.`);
  }
  return input;
}

/**
 * The input size: what the model declares, for free sides what its metadata (`imgsz`) says, else 640.
 *
 * @throws LayoutError when the model does not take exactly one colour picture
 */
export function inputSizeOf(model: OnnxDescription): InputSize {
  const input = pictureInput(model);
  const [, , declaredHeight, declaredWidth] = input.shape;
  const noted = parseNumbers(model.metadata.imgsz ?? '') ?? [];
  const height = typeof declaredHeight === 'number' ? declaredHeight : (noted[0] ?? NOMINAL_SIDE);
  const width = typeof declaredWidth === 'number' ? declaredWidth : (noted.at(-1) ?? NOMINAL_SIDE);
  if (Math.min(width, height) < 32 || Math.max(width, height) > LARGEST_SIDE) {
    throw new LayoutError(`Expected an input of 32 to ${LARGEST_SIDE} pixels; seen: ${width}x${height}.`);
  }
  return { width, height, free: typeof declaredHeight !== 'number' || typeof declaredWidth !== 'number' };
}

function cellsOf({ width, height }: InputSize, strides: readonly number[]): number {
  return strides.reduce((sum, stride) => sum + Math.floor(width / stride) * Math.floor(height / stride), 0);
}

function isYunet(outputs: readonly SeenOutput[]): boolean {
  const wanted = [8, 16, 32].flatMap((stride) => ['cls', 'obj', 'bbox', 'kps'].map((part) => `${part}_${stride}`));
  return outputs.length === wanted.length && wanted.every((name) => outputs.some((output) => output.name === name));
}

function isUltraface(outputs: readonly SeenOutput[]): boolean {
  const columns = (name: string) => outputs.find((output) => output.name === name)?.dims[2];
  return outputs.length === 2 && columns('scores') === 2 && columns('boxes') === 4;
}

const face = (family: 'yunet' | 'ultraface', confidence: number): RecognisedLayout => ({
  task: 'face',
  family,
  layout: family,
  labels: ['face'],
  defaults: { confidence, nms: 0.3 },
});

/** Whether box coordinates of a raw YOLOX output are what they should be: small numbers relative to a cell. */
function looksUndecoded({ data, dims }: SeenOutput): boolean {
  const columns = dims[2] ?? 1;
  for (let at = 0; at < data.length; at += columns) {
    for (let side = 0; side < 4; side++) if (Math.abs(data[at + side] ?? 0) > 64) return false;
  }
  return true;
}

/**
 * Tells from a model's shapes and metadata how its output is to be read.
 *
 * @param outputs of a run on a plain picture of `size`
 * @param given labels that the user names; they win over the model's own
 * @param coco the 80 labels of COCO, which a model without names is taken to have when it has 80 classes
 * @throws LayoutError that says what was seen
 */
export function recogniseLayout(
  model: OnnxDescription,
  size: InputSize,
  outputs: readonly SeenOutput[],
  given: readonly string[] | undefined,
  coco: readonly string[],
): RecognisedLayout {
  const seen = `seen: ${outputs.map(({ name, dims }) => `${name} ${shapeText(dims)}`).join(', ')} for an input of ${size.width}x${size.height}`;
  const refuse = (why: string) => new LayoutError(`${why}; ${seen}.`);

  const { task } = model.metadata;
  if (task !== undefined && task !== 'detect') {
    throw refuse(`It is a model for ${TASK_NAMES[task] ?? task}, not for detection`);
  }
  if (isYunet(outputs)) {
    return face('yunet', 0.6);
  }
  if (isUltraface(outputs)) {
    return face('ultraface', 0.7);
  }

  const [output, ...others] = outputs;
  if (output === undefined || others.length > 0) throw refuse('A YOLO detector has one output');
  const [batch, rows, columns] = output.dims;
  if (output.dims.length !== 3 || batch !== 1 || rows === undefined || columns === undefined) {
    throw refuse('The output is not one table of boxes');
  }

  const own = given ?? (model.metadata.names === undefined ? undefined : parseNames(model.metadata.names));
  if (own === undefined && model.metadata.names !== undefined) throw refuse('Its class names cannot be read');
  const source = given === undefined ? 'its metadata names' : 'the labels given are';

  const found = (layout: Layout, classes: number, family = 'ultralytics'): RecognisedLayout => {
    const labels = own ?? (classes === COCO_CLASSES ? coco : undefined);
    if (labels === undefined) {
      throw refuse(`It has ${classes} classes and names none; give their names with --labels`);
    }
    if (labels.length !== classes) throw refuse(`It has ${classes} classes, but ${source} ${labels.length}`);
    const nms = layout === 'end-to-end' ? 1 : layout === 'yolov5' || layout === 'yolox' ? 0.45 : 0.7;
    return { task: 'object', family, layout, labels: [...labels], defaults: { confidence: 0.25, nms } };
  };

  const cells = STRIDE_SETS.map((strides) => cellsOf(size, strides));
  const anchors = cells.map((count) => count * ANCHORS_PER_CELL);
  const endToEnd = model.metadata.end2end === 'True';
  if (columns === 6 && (endToEnd || !(cells.includes(rows) || anchors.includes(rows)))) {
    // Six columns whatever the number of classes, so only the names tell it.
    if (own === undefined) throw refuse('It does not name its classes; give their names with --labels');
    return found('end-to-end', own.length);
  }
  if (endToEnd) throw refuse('An end-to-end detector has six columns (x1, y1, x2, y2, score, class)');
  if (cells.includes(columns) && rows > 4) return found('yolov8', rows - 4);
  if (anchors.includes(rows) && columns > 5) return found('yolov5', columns - 5);
  if (cells.includes(rows) && columns > 4) {
    const classes = own?.length ?? COCO_CLASSES;
    if (columns === 5 + classes && rows === cellsOf(size, YOLOX_STRIDES)) {
      if (!looksUndecoded(output))
        throw refuse('It looks like YOLOX with its boxes decoded already; export it without');
      return found('yolox', columns - 5, 'yolox');
    }
    return found('yolov8-transposed', columns - 4);
  }
  throw refuse('The output is none of the known layouts (YOLOv5, v8 and later, end-to-end, YOLOX, YuNet)');
}
