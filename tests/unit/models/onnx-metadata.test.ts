import { readdirSync, readFileSync } from 'node:fs';
import type { InferenceSession } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { ort } from '../../../src/detect/onnx-runtime.ts';
import { describeOnnx, OnnxFormatError } from '../../../src/models/onnx-metadata.ts';
import { requireShared, sharedPath } from '../../support/shared.ts';

/** A length-delimited protobuf field, written by hand: tag, length, content. */
function field(number: number, content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

const number = (at: number, value: number) => Buffer.concat([varint(at * 8), varint(value)]);
const message = (at: number, ...parts: Buffer[]) => field(at, Buffer.concat(parts));

/** ValueInfoProto: name, tensor type with element type and shape. */
function value(name: string, elementType: number, shape: readonly (number | string | null)[]): Buffer {
  const dimensions = shape.map((dimension) =>
    typeof dimension === 'number'
      ? message(1, number(1, dimension))
      : message(1, ...(dimension === null ? [] : [field(2, dimension)])),
  );
  return Buffer.concat([field(1, name), message(2, message(1, number(1, elementType), message(2, ...dimensions)))]);
}

const NODE = message(1, field(1, 'x'), field(2, 'y'), field(4, 'Identity'));

describe('describeOnnx', () => {
  it('reads inputs, outputs and metadata, and leaves weights out of the inputs', () => {
    const graph = [
      NODE,
      message(5, number(1, 3), field(8, 'weight'), field(9, new Uint8Array(50))),
      message(11, value('weight', 1, [3])),
      message(11, value('x', 10, ['batch', 3, null, 640])),
      message(12, value('y', 1, [1, 84, 8400])),
      message(12, value('z', 99, [])),
    ];
    const model = Buffer.concat([
      number(1, 8),
      field(2, 'by hand'),
      message(7, ...graph),
      message(14, field(1, 'names'), field(2, "{0: 'café'}")),
      message(14, field(1, '__proto__'), field(2, 'harmless')),
    ]);
    const { inputs, outputs, metadata } = describeOnnx(model);
    expect(inputs).toEqual([{ name: 'x', type: 'float16', shape: ['batch', 3, null, 640] }]);
    expect(outputs).toEqual([
      { name: 'y', type: 'float32', shape: [1, 84, 8400] },
      { name: 'z', type: 'unknown', shape: [] },
    ]);
    expect(Object.entries(metadata)).toEqual([
      ['names', "{0: 'café'}"],
      ['__proto__', 'harmless'],
    ]);
  });

  it('takes a negative dimension for an unknown one', () => {
    const minusOne = Buffer.from([0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    const output = Buffer.concat([
      field(1, 'y'),
      message(2, message(1, number(1, 1), message(2, message(1, minusOne)))),
    ]);
    const { outputs } = describeOnnx(message(7, NODE, message(12, output)));
    expect(outputs).toEqual([{ name: 'y', type: 'float32', shape: [null] }]);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('This is no model, it only says so.')],
    ['zeros', Buffer.alloc(1000)],
    ['ones', Buffer.alloc(1000, 0xff)],
    ['a PNG head', Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')],
    ['a length beyond the end', Buffer.concat([varint(7 * 8 + 2), varint(2 ** 40), Buffer.alloc(8)])],
    ['a graph without outputs', message(7, NODE)],
    ['a group', Buffer.from([7 * 8 + 3, 7 * 8 + 4])],
    ['a number without end', Buffer.from([8, ...Array<number>(12).fill(0x80)])],
  ])('refuses %s', (_, bytes) => {
    expect(() => describeOnnx(bytes)).toThrow(OnnxFormatError);
  });
});

describe.skipIf(!requireShared())('describeOnnx on real files', () => {
  // yolox_nano_640 has had its declared sizes changed by hand, so the runtime works out others.
  const files = requireShared()
    ? ['models', 'models/layouts', 'models/test-only-agpl'].flatMap((folder) =>
        readdirSync(sharedPath(folder))
          .filter((name) => name.endsWith('.onnx') && !/^(not-onnx|truncated|yolox_nano_640)/.test(name))
          .map((name) => `${folder}/${name}`),
      )
    : [];

  it.each(files)('%s says what the runtime says', async (file) => {
    const path = sharedPath(file);
    const { inputs, outputs } = describeOnnx(readFileSync(path));
    const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 3 });
    const seen = (values: readonly InferenceSession.ValueMetadata[]) =>
      values.map((one) => (one.isTensor ? { name: one.name, type: one.type, shape: one.shape } : one));
    expect(inputs).toEqual(seen(session.inputMetadata));
    // The runtime works out sizes that the file leaves free.
    const declared = seen(session.outputMetadata).map((one, index) => {
      const mine = outputs[index]?.shape ?? [];
      return 'shape' in one
        ? { ...one, shape: one.shape.map((size, at) => (typeof mine[at] === 'string' ? mine[at] : size)) }
        : one;
    });
    expect(outputs).toEqual(declared);
    await session.release();
  });

  it('reads the notes of an exporter', () => {
    const { metadata } = describeOnnx(readFileSync(sharedPath('models/test-only-agpl/yolov8n_int8.onnx')));
    expect(metadata).toMatchObject({ task: 'detect', stride: '32', imgsz: '[640, 640]' });
    expect(metadata.names).toMatch(/^\{0: 'person', 1: 'bicycle', .*79: 'toothbrush'\}$/);
  });

  it('ends with an answer or a refusal wherever the file is cut off', () => {
    const whole = readFileSync(sharedPath('models/layouts/v8-three-classes-320.onnx'));
    let refused = 0;
    for (let length = 0; length < whole.length; length++) {
      try {
        expect(describeOnnx(whole.subarray(0, length)).outputs).toHaveLength(1);
      } catch (error) {
        expect(error).toBeInstanceOf(OnnxFormatError);
        refused++;
      }
    }
    // Only between two entries of the metadata at the end can a file be cut off unnoticed.
    expect(whole.length - refused).toBeLessThan(12);
  });

  it('ends with an answer or a refusal whatever byte is changed', () => {
    const whole = readFileSync(sharedPath('models/layouts/v8-three-classes-320.onnx'));
    let answered = 0;
    for (let at = 0; at < whole.length; at++) {
      for (const flip of [0x01, 0x80, 0xff]) {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ flip;
        try {
          describeOnnx(changed);
          answered++;
        } catch (error) {
          expect(error).toBeInstanceOf(OnnxFormatError);
        }
      }
    }
    expect(answered).toBeGreaterThan(0);
  });
});
