import type { Frame, Size } from '../../../src/detect/detector.ts';
import { ort } from '../../../src/detect/onnx-runtime.ts';

/** Plain second versions of what the detectors do, written for being read and not for speed. */

export type NaiveBox = { x1: number; y1: number; x2: number; y2: number; score: number; classId: number };

type Preparation = { input: Size; left: number; top: number; padding: number; bgr: boolean; divisor: number };

/** The picture in the input, value by value. */
function prepare(frame: Frame, { input, left, top, padding, bgr, divisor }: Preparation): Float32Array {
  const tensor = new Float32Array(3 * input.width * input.height);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < input.height; y++) {
      for (let x = 0; x < input.width; x++) {
        const insideX = x - left >= 0 && x - left < frame.width;
        const insideY = y - top >= 0 && y - top < frame.height;
        const colour = bgr ? 2 - channel : channel;
        const at = ((y - top) * frame.width + (x - left)) * 3 + colour;
        const value = insideX && insideY ? (frame.data[at] ?? Number.NaN) : padding;
        tensor[(channel * input.height + y) * input.width + x] = value / divisor;
      }
    }
  }
  return tensor;
}

export async function runNaively(path: string, frame: Frame, preparation: Preparation) {
  const session = await ort.InferenceSession.create(path, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const { width, height } = preparation.input;
  const [name] = session.inputNames;
  const tensor = new ort.Tensor('float32', prepare(frame, preparation), [1, 3, height, width]);
  const outputs = await session.run({ [name as string]: tensor });
  const read = Object.fromEntries(
    session.outputNames.map((output) => [output, Float32Array.from(outputs[output]?.data as Float32Array)]),
  );
  await session.release();
  return read;
}

function overlap(a: NaiveBox, b: NaiveBox): number {
  const width = Math.max(0, Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1));
  const height = Math.max(0, Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1));
  const area = (box: NaiveBox) => (box.x2 - box.x1) * (box.y2 - box.y1);
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Repeatedly takes the best box and crosses out what overlaps it in its class; then cuts off at the frame. */
export function suppressNaively(boxes: NaiveBox[], threshold: number, frame: Size): NaiveBox[] {
  let rest = [...boxes].sort((a, b) => b.score - a.score);
  const kept: NaiveBox[] = [];
  for (let best = rest[0]; best !== undefined; best = rest[0]) {
    const taken = best;
    kept.push(taken);
    rest = rest.slice(1).filter((box) => box.classId !== taken.classId || overlap(box, taken) <= threshold);
  }
  return kept.map((box) => ({
    ...box,
    x1: Math.max(0, box.x1),
    y1: Math.max(0, box.y1),
    x2: Math.min(frame.width, box.x2),
    y2: Math.min(frame.height, box.y2),
  }));
}
