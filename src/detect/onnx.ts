import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { freeBuffer } from '../free-buffer.ts';
import type { DetectorSettings, Frame, Provider, Size } from './detector.ts';
import { fillPadding, fillPicture, type Offset, offsetOf, type Preprocessing, valueTable } from './letterbox.ts';
import { ort } from './onnx-runtime.ts';

export type NetworkOutput = { dims: readonly number[]; data: Float32Array };

export type NetworkAnswer = {
  outputs: Readonly<Record<string, NetworkOutput>>;
  /** Where the frame lay in the input. */
  offset: Offset;
  /** Time that filling the input took, in ms. */
  fillMs: number;
  inferenceMs: number;
};

/** A loaded ONNX model that takes one picture; not to be asked twice at the same time. */
export type Network = {
  /** Names in the order of the model. */
  outputNames: readonly string[];
  /** The input's declared size in pixels, null where it is free. */
  declared: { width: number | null; height: number | null };
  /**
   * Puts a frame into an input of the given size and runs the model. What it gives lasts until it is asked again.
   *
   * @param frame no larger than the input
   */
  infer(frame: Frame, input: Size): Promise<NetworkAnswer>;
  readonly provider: Provider;
  close(): Promise<void>;
};

const OPTIONS: InferenceSession.SessionOptions = {
  // One thread each: detection processes are as many as cores, and waiting threads of one slow down the others.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
};

async function createSession(
  path: string,
  providers: DetectorSettings['executionProviders'],
  options: InferenceSession.SessionOptions,
): Promise<{ session: InferenceSession; provider: Provider }> {
  if (providers.includes('cuda')) {
    try {
      const session = await ort.InferenceSession.create(path, { ...options, executionProviders: ['cuda', 'cpu'] });
      return { session, provider: 'cuda' };
    } catch {
      // The runtime does not fall back by itself where CUDA or its provider library is missing.
    }
  }
  const session = await ort.InferenceSession.create(path, { ...options, executionProviders: ['cpu'] });
  return { session, provider: 'cpu' };
}

/** A tensor over a part of a buffer that is kept for the next picture. */
function createTensor(buffer: Float32Array | Uint16Array, dims: readonly number[]): Tensor {
  const data = buffer.subarray(
    0,
    dims.reduce((product, dim) => product * dim, 1),
  );
  if (data instanceof Float32Array) return new ort.Tensor('float32', data, dims);
  // Where the language has Float16Array, Tensor wraps the bits into one, whose length the native part reads as 0
  // (microsoft/onnxruntime pull request 32323); this hands it the bits themselves.
  return Object.create(new ort.Tensor('float16', data, dims), { data: { value: data } }) as Tensor;
}

function imageInput(session: InferenceSession) {
  const [input, ...others] = session.inputMetadata;
  if (input?.isTensor !== true || others.length > 0 || input.shape.length !== 4) {
    throw new Error('The model does not take exactly one picture.');
  }
  if (input.type !== 'float32' && input.type !== 'float16') {
    throw new Error(`The model takes ${input.type}, not float32 or float16.`);
  }
  const [, , height, width] = input.shape;
  return {
    name: input.name,
    half: input.type === 'float16',
    width: typeof width === 'number' ? width : null,
    height: typeof height === 'number' ? height : null,
  };
}

/**
 * Loads an ONNX model on one thread; falls back to the CPU where CUDA is wanted and missing.
 *
 * @throws Error when the file is no model, or one that does not take exactly one picture
 */
export async function openNetwork(
  path: string,
  settings: Pick<DetectorSettings, 'executionProviders'>,
  preprocessing: Preprocessing,
): Promise<Network> {
  const { session, provider } = await createSession(path, settings.executionProviders, OPTIONS);
  const image = imageInput(session);
  const table = valueTable(preprocessing.scale, image.half);
  const padding = table[preprocessing.padding] as number;
  const halves = new Map<string, Float32Array>();
  let buffer: Float32Array | Uint16Array = image.half ? new Uint16Array(0) : new Float32Array(0);
  let tensor: Tensor | undefined;
  let geometry = '';
  let last: Tensor[] = [];

  function fill(frame: Frame, input: Size, offset: Offset): Tensor {
    if (frame.width > input.width || frame.height > input.height) {
      throw new RangeError(`A frame of ${frame.width}x${frame.height} is larger than the model's input.`);
    }
    const values = 3 * input.width * input.height;
    if (buffer.length < values) buffer = image.half ? new Uint16Array(values) : new Float32Array(values);
    const wanted = `${input.width}x${input.height} ${frame.width}x${frame.height}`;
    if (tensor === undefined || geometry !== wanted) {
      tensor = createTensor(buffer, [1, 3, input.height, input.width]);
      fillPadding(buffer, input, frame, offset, padding);
      geometry = wanted;
    }
    fillPicture(buffer, input, frame, offset, preprocessing.order, table);
    return tensor;
  }

  function read(name: string, output: Tensor | undefined): NetworkOutput {
    const data: unknown = output?.data;
    if (output === undefined) throw new Error(`The model gave no output ${name}.`);
    if (data instanceof Float32Array) return { dims: output.dims, data };
    if (output.type !== 'float16') throw new Error(`The output ${name} is ${output.type}, not float32 or float16.`);
    let floats = halves.get(name);
    if (floats?.length !== output.size) {
      floats = new Float32Array(output.size);
      halves.set(name, floats);
    }
    floats.set(data as ArrayLike<number>);
    return { dims: output.dims, data: floats };
  }

  return {
    provider,
    outputNames: session.outputNames,
    declared: { width: image.width, height: image.height },
    async infer(frame, input) {
      const startedAt = performance.now();
      const offset = offsetOf(frame, input, preprocessing.placement);
      const feed = fill(frame, input, offset);
      const filledAt = performance.now();
      for (const { data } of last) freeBuffer(data as NodeJS.ArrayBufferView);
      const answer = await session.run({ [image.name]: feed });
      last = Object.values(answer);
      const answeredAt = performance.now();
      const outputs = Object.fromEntries(session.outputNames.map((name) => [name, read(name, answer[name])]));
      return { outputs, offset, fillMs: filledAt - startedAt, inferenceMs: answeredAt - filledAt };
    },
    async close() {
      await session.release();
    },
  };
}

/**
 * Runs a model once on a plain picture of the given size, to see whether it works and what it gives.
 *
 * @throws Error when it cannot be loaded or run
 */
export async function tryOut(path: string, size: Size) {
  const network = await openNetwork(
    path,
    { executionProviders: ['cpu'] },
    { order: 'rgb', scale: (value) => value / 255, padding: 114, placement: 'corner' },
  );
  try {
    const { outputs } = await network.infer({ data: new Uint8Array([114, 114, 114]), width: 1, height: 1 }, size);
    return Object.entries(outputs).map(([name, { dims, data }]) => ({ name, dims, data }));
  } finally {
    await network.close();
  }
}
