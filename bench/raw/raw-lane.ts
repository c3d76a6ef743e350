/** Detection without HTTP and queue, in a process like the service's own: what the hardware gives at best. */
import { constants, setPriority } from 'node:os';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import type { DetectOptions, Detector, Size } from '../../src/detect/detector.ts';
import { ort } from '../../src/detect/onnx-runtime.ts';
import { createDetector } from '../../src/detect/registry.ts';
import { freeBuffer } from '../../src/free-buffer.ts';
import { decodeImage } from '../../src/media/decode-image.ts';
import type { RawOrder, RawOutcome, RawWork } from './messages.ts';

const PIXEL_LIMIT = 100_000_000;
const HAAR_LONGEST_SIDE = 1920;
const STRIDE = 32;

// As the service's detection processes: else other work on the machine would slow down only one of the two.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

type Loaded = { paths: string[]; works: Record<RawWork, (path: string) => Promise<unknown>> };

/** `session.run` on an input of the size that the detector gives its model. */
async function sessionAlone(modelPath: string, frame: Size): Promise<() => Promise<unknown>> {
  const session = await ort.InferenceSession.create(modelPath, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionProviders: ['cpu'],
  });
  const input = session.inputMetadata[0];
  if (input?.isTensor !== true) throw new Error('the model takes no tensor');
  const side = (declared: unknown, pixels: number) =>
    typeof declared === 'number' ? declared : Math.ceil(pixels / STRIDE) * STRIDE;
  const dims = [1, 3, side(input.shape[2], frame.height), side(input.shape[3], frame.width)];
  const values = new Float32Array(dims.reduce((product, dim) => product * dim, 1)).fill(114);
  const feeds = { [input.name]: new ort.Tensor('float32', values, dims) };
  return () => session.run(feeds);
}

async function load({ model, pictures }: Extract<RawOrder, { load: unknown }>['load']): Promise<Loaded> {
  const detector: Detector = await createDetector(model, {
    executionProviders: ['cpu'],
    haarLongestSide: HAAR_LONGEST_SIDE,
  });
  const options: DetectOptions = {
    confidence: model.defaults.confidence,
    nms: model.defaults.nms,
    classes: undefined,
    maxDetections: 100,
    inputSize: undefined,
  };
  const frame = detector.frameSize(pictures, options);
  const session = model.path.endsWith('.onnx') ? await sessionAlone(model.path, frame) : undefined;
  return {
    paths: pictures.paths,
    works: {
      detect: async (path) => {
        const decoded = await decodeImage(path, 'image/jpeg', frame, { pixels: PIXEL_LIMIT });
        const outcome = await detector.detect(decoded, options);
        freeBuffer(decoded.data);
        return outcome;
      },
      sharp: (path) =>
        sharp(path).autoOrient().resize(frame.width, frame.height, { fit: 'fill', kernel: 'linear' }).raw().toBuffer(),
      session: async () => session?.(),
    },
  };
}

async function measure(
  { paths, works }: Loaded,
  { work, seconds, pauseMs }: Extract<RawOrder, { work: RawWork }>,
): Promise<RawOutcome> {
  const timesMs: number[] = [];
  const start = performance.now();
  do {
    const path = paths[timesMs.length % paths.length] as string;
    const startedAt = performance.now();
    await works[work](path);
    timesMs.push(performance.now() - startedAt);
    if (pauseMs > 0) await sleep(pauseMs);
  } while (performance.now() - start < seconds * 1000);
  return { rounds: timesMs.length, seconds: (performance.now() - start) / 1000, timesMs };
}

let loaded: Loaded | undefined;

async function obey(order: RawOrder): Promise<RawOutcome> {
  if ('load' in order) {
    loaded = await load(order.load);
    return { rounds: 0, seconds: 0, timesMs: [] };
  }
  if (loaded === undefined) throw new Error('nothing is loaded');
  return measure(loaded, order);
}

process.on('message', (order: RawOrder) => {
  obey(order).then(
    (outcome) => process.send?.({ outcome }),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
