import { describe, expect, it } from 'vitest';
import { inputSizeOf, LayoutError, recogniseLayout, type SeenOutput } from '../../../src/models/layout.ts';
import type { Dimension, OnnxDescription } from '../../../src/models/onnx-metadata.ts';

const COCO = Array.from({ length: 80 }, (_, index) => `coco ${index}`);
const THREE = "{0: 'a', 1: 'b', 2: 'c'}";

function model(metadata: Record<string, string> = {}, shape: Dimension[] = [1, 3, 640, 640], type = 'float32') {
  return { inputs: [{ name: 'images', type, shape }], outputs: [], metadata } satisfies OnnxDescription;
}

const output = (dims: number[], name = 'output0', data: number[] = []): SeenOutput => ({ name, dims, data });

function recognise(
  dims: number[] | SeenOutput[],
  metadata: Record<string, string> = {},
  side = 640,
  given?: readonly string[],
) {
  const outputs = typeof dims[0] === 'object' ? (dims as SeenOutput[]) : [output(dims as number[])];
  const description = model(metadata, [1, 3, side, side]);
  const { layout, family, labels } = recogniseLayout(description, inputSizeOf(description), outputs, given, COCO);
  return [family, layout, labels.length];
}

describe('inputSizeOf', () => {
  it('takes what the model declares, then what its notes say, then 640', () => {
    const free: Dimension[] = ['batch', 3, 'height', 'width'];
    expect(inputSizeOf(model({}, [1, 3, 480, 320]))).toEqual({ width: 320, height: 480, free: false });
    expect(inputSizeOf(model({ imgsz: '[384, 672]' }, free))).toEqual({ width: 672, height: 384, free: true });
    expect(inputSizeOf(model({ imgsz: '512' }, free))).toEqual({ width: 512, height: 512, free: true });
    expect(inputSizeOf(model({ imgsz: 'large' }, free))).toEqual({ width: 640, height: 640, free: true });
    expect(inputSizeOf(model({}, [null, null, null, null]))).toEqual({ width: 640, height: 640, free: true });
  });

  it.each([
    ['channels last', model({}, [1, 640, 640, 3])],
    ['grey', model({}, [1, 1, 640, 640])],
    ['a batch of 8', model({}, [8, 3, 640, 640])],
    ['bytes', model({}, [1, 3, 640, 640], 'uint8')],
    ['a vector', model({}, [1, 1000])],
    ['two inputs', { ...model(), inputs: [...model().inputs, ...model().inputs] }],
    ['no input', { ...model(), inputs: [] }],
    ['a huge one', model({}, [1, 3, 100_000, 100_000])],
  ])('refuses %s and says what it saw', (_, description) => {
    expect(() => inputSizeOf(description)).toThrow(LayoutError);
    expect(() => inputSizeOf(description)).toThrow(/seen: /);
  });
});

describe('recogniseLayout', () => {
  // Cells at 640: 80x80 + 40x40 + 20x20 = 8400, with stride 64 100 more, with stride 4 25600 more; at 320: 2100.
  it.each([
    ['v8, COCO without names', [1, 84, 8400], {}, 640, ['ultralytics', 'yolov8', 80]],
    ['v8, three classes', [1, 7, 2100], { names: THREE }, 320, ['ultralytics', 'yolov8', 3]],
    ['v8 with a fourth level', [1, 7, 8500], { names: THREE }, 640, ['ultralytics', 'yolov8', 3]],
    ['v8 with a fine level', [1, 7, 34000], { names: THREE }, 640, ['ultralytics', 'yolov8', 3]],
    ['v8 transposed', [1, 8400, 7], { names: THREE }, 640, ['ultralytics', 'yolov8-transposed', 3]],
    ['v8 transposed, COCO without names', [1, 8400, 84], {}, 640, ['ultralytics', 'yolov8-transposed', 80]],
    ['v8 transposed, two classes', [1, 8400, 6], { names: "['a','b']" }, 640, ['ultralytics', 'yolov8-transposed', 2]],
    ['v5', [1, 25200, 85], {}, 640, ['ultralytics', 'yolov5', 80]],
    ['v5, one class', [1, 25200, 6], { names: "['a']" }, 640, ['ultralytics', 'yolov5', 1]],
    ['YOLOX', [1, 8400, 85], {}, 640, ['yolox', 'yolox', 80]],
    ['YOLOX, own classes', [1, 3549, 8], { names: THREE }, 416, ['yolox', 'yolox', 3]],
    ['end to end', [1, 300, 6], { names: THREE }, 640, ['ultralytics', 'end-to-end', 3]],
    ['end to end as noted', [1, 8400, 6], { names: THREE, end2end: 'True' }, 640, ['ultralytics', 'end-to-end', 3]],
    ['v8 where end2end is False', [1, 7, 8400], { names: THREE, end2end: 'False' }, 640, ['ultralytics', 'yolov8', 3]],
  ] as const)('knows %s', (_, dims, metadata, side, expected) => {
    expect(recognise([...dims], metadata, side)).toEqual(expected);
  });

  it('takes given labels for the number of classes', () => {
    expect(recognise([1, 3549, 8], {}, 416, ['a', 'b', 'c'])).toEqual(['yolox', 'yolox', 3]);
    expect(recognise([1, 3549, 8], {}, 416, ['a', 'b', 'c', 'd'])).toEqual(['ultralytics', 'yolov8-transposed', 4]);
    expect(recognise([1, 300, 6], {}, 640, ['a'])).toEqual(['ultralytics', 'end-to-end', 1]);
  });

  it.each([
    [
      'segmentation',
      [output([1, 116, 8400]), output([1, 32, 160, 160], 'output1')],
      { task: 'segment' },
      'segmentation',
    ],
    ['two outputs', [output([1, 84, 8400]), output([1, 32, 160, 160], 'output1')], {}, 'one output'],
    ['pose', [1, 56, 8400], { task: 'pose', names: "{0: 'person'}" }, 'pose estimation'],
    [
      'pose without notes on its task',
      [1, 56, 8400],
      { names: "{0: 'person'}" },
      '52 classes, but its metadata names 1',
    ],
    ['an unknown task', [1, 84, 8400], { task: 'juggle' }, 'a model for juggle'],
    ['a classifier', [1, 1000], {}, 'not one table'],
    ['a batch', [2, 84, 8400], {}, 'not one table'],
    ['a wrong number of names', [1, 84, 8400], { names: THREE }, '80 classes, but its metadata names 3'],
    ['names that cannot be read', [1, 84, 8400], { names: 'person, car' }, 'names cannot be read'],
    ['classes without names', [1, 10, 8400], {}, 'It has 6 classes and names none; give their names with --labels'],
    ['end to end without names', [1, 300, 6], {}, 'give their names with --labels'],
    ['end to end with more columns', [1, 300, 38], { end2end: 'True', names: THREE }, 'six columns'],
    ['rows of no grid', [1, 1234, 85], {}, 'none of the known layouts'],
    ['feature maps', [1, 255, 80], {}, 'none of the known layouts'],
    ['a lone number', [], {}, 'not one table'],
  ] as const)('refuses %s and says what it saw', (_, dims, metadata, sentence) => {
    const attempt = () => recognise([...dims] as number[], metadata);
    expect(attempt).toThrow(LayoutError);
    expect(attempt).toThrow(sentence);
    expect(attempt).toThrow(/seen: .*for an input of 640x640\.$/);
  });
});
