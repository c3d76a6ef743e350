/** A dimension: its size, its name where it is free, or null where the model says nothing. */
export type Dimension = number | string | null;

export type TensorDescription = {
  name: string;
  /** Element type in onnxruntime's words, such as `float32`; `unknown` for others. */
  type: string;
  shape: readonly Dimension[];
};

export type OnnxDescription = {
  /** Without those that are weights. */
  inputs: TensorDescription[];
  outputs: TensorDescription[];
  /** The exporter's notes (`metadata_props`). */
  metadata: Record<string, string>;
};

/** The bytes are not a whole ONNX model. */
export class OnnxFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OnnxFormatError';
  }
}

// Field numbers of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
const MODEL_GRAPH = 7;
const MODEL_METADATA = 14;
const ENTRY_KEY = 1;
const ENTRY_VALUE = 2;
const GRAPH_NODE = 1;
const GRAPH_INITIALIZER = 5;
const GRAPH_INPUT = 11;
const GRAPH_OUTPUT = 12;
const TENSOR_NAME = 8;
const VALUE_NAME = 1;
const VALUE_TYPE = 2;
const TYPE_TENSOR = 1;
const TENSOR_TYPE_ELEMENT = 1;
const TENSOR_TYPE_SHAPE = 2;
const SHAPE_DIMENSION = 1;
const DIMENSION_SIZE = 1;
const DIMENSION_NAME = 2;

const ELEMENT_TYPES: Readonly<Record<number, string>> = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  10: 'float16',
  11: 'float64',
  12: 'uint32',
  13: 'uint64',
  16: 'bfloat16',
};

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** A field of a message: `bytes` for length-delimited ones, else `value` (meaningful for varints only). */
type Field = { number: number; value: number; bytes: Uint8Array | undefined };

/** The fields of a protobuf message; see https://protobuf.dev/programming-guides/encoding/ */
function* fieldsOf(message: Uint8Array): Generator<Field> {
  let at = 0;

  function varint(): number {
    let value = 0;
    for (let index = 0; index < 10; index++) {
      const byte = message[at++];
      if (byte === undefined) throw new OnnxFormatError('The file ends in the middle.');
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw new OnnxFormatError('The file is not an ONNX model.');
  }

  function take(length: number): Uint8Array {
    if (length > message.length - at) throw new OnnxFormatError('The file ends in the middle.');
    at += length;
    return message.subarray(at - length, at);
  }

  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (number === 0) throw new OnnxFormatError('The file is not an ONNX model.');
    if (wire === VARINT) yield { number, value: varint(), bytes: undefined };
    else if (wire === BYTES) yield { number, value: 0, bytes: take(varint()) };
    else if (wire === FIXED64 || wire === FIXED32) {
      take(wire === FIXED64 ? 8 : 4);
      yield { number, value: 0, bytes: undefined };
    } else throw new OnnxFormatError('The file is not an ONNX model.');
  }
}

const utf8 = new TextDecoder();

function textOf(message: Uint8Array, field: number): string {
  let text = '';
  for (const { number, bytes } of fieldsOf(message)) if (number === field && bytes) text = utf8.decode(bytes);
  return text;
}

function* messagesOf(message: Uint8Array, field: number): Generator<Uint8Array> {
  for (const { number, bytes } of fieldsOf(message)) if (number === field && bytes) yield bytes;
}

function dimensionOf(message: Uint8Array): Dimension {
  let dimension: Dimension = null;
  for (const { number, value, bytes } of fieldsOf(message)) {
    if (number === DIMENSION_SIZE && bytes === undefined) dimension = Number.isSafeInteger(value) ? value : null;
    if (number === DIMENSION_NAME && bytes) dimension = utf8.decode(bytes);
  }
  return dimension;
}

function tensorOf(message: Uint8Array): TensorDescription {
  let type = 'unknown';
  const shape: Dimension[] = [];
  for (const valueType of messagesOf(message, VALUE_TYPE)) {
    for (const tensor of messagesOf(valueType, TYPE_TENSOR)) {
      for (const { number, value, bytes } of fieldsOf(tensor)) {
        if (number === TENSOR_TYPE_ELEMENT) type = ELEMENT_TYPES[value] ?? 'unknown';
        if (number !== TENSOR_TYPE_SHAPE || !bytes) continue;
        for (const dimension of messagesOf(bytes, SHAPE_DIMENSION)) shape.push(dimensionOf(dimension));
      }
    }
  }
  return { name: textOf(message, VALUE_NAME), type, shape };
}

/**
 * Reads what an ONNX file says of itself, without a runtime and without reading its weights.
 *
 * @throws OnnxFormatError when the bytes are cut off or no ONNX model
 */
export function describeOnnx(file: Uint8Array): OnnxDescription {
  const metadata: Record<string, string> = Object.create(null);
  const inputs: TensorDescription[] = [];
  const outputs: TensorDescription[] = [];
  const weights = new Set<string>();
  let nodes = 0;
  for (const { number, bytes } of fieldsOf(file)) {
    if (number === MODEL_METADATA && bytes) metadata[textOf(bytes, ENTRY_KEY)] = textOf(bytes, ENTRY_VALUE);
    if (number !== MODEL_GRAPH || !bytes) continue;
    for (const part of fieldsOf(bytes)) {
      if (part.bytes === undefined) continue;
      if (part.number === GRAPH_NODE) nodes++;
      if (part.number === GRAPH_INPUT) inputs.push(tensorOf(part.bytes));
      if (part.number === GRAPH_OUTPUT) outputs.push(tensorOf(part.bytes));
      if (part.number === GRAPH_INITIALIZER) weights.add(textOf(part.bytes, TENSOR_NAME));
    }
  }
  if (nodes === 0 || outputs.length === 0) throw new OnnxFormatError('The file is not an ONNX model.');
  return { inputs: inputs.filter(({ name }) => !weights.has(name)), outputs, metadata };
}
