import type { Kind } from '../../src/contract/kinds.ts';
import type { ImageResult } from '../../src/contract/results.ts';
import { openConnection } from '../load/connection.ts';
import { preparePost } from '../load/requests.ts';
import { tell } from '../report.ts';
import type { Found } from './average-precision.ts';

/** What the service found in one picture; faces have the label `face`. */
export type LabelledFound = Found & { label: string };

/** What the service found, by the path of the picture. */
export type Detections = ReadonlyMap<string, readonly LabelledFound[]>;

export type Service = { url: string; inFlight: number };

function read(result: ImageResult): LabelledFound[] {
  const found = 'faces' in result ? result.faces.map((face) => ({ ...face, class: 'face' })) : result.objects;
  return found.map(({ class: label, confidence, bbox: { x, y, width, height } }) => ({
    label,
    score: confidence,
    box: [x, y, width, height],
  }));
}

/**
 * Posts every picture to the service and waits for its result.
 *
 * @param query options of the detection
 * @throws Error naming the picture that was refused or failed
 */
export async function detectAll(
  { url, inFlight }: Service,
  kind: Kind,
  pictures: readonly string[],
  query: Record<string, string>,
): Promise<Detections> {
  const found = new Map<string, LabelledFound[]>();
  const left = pictures.values();
  const startedAt = performance.now();

  async function work(): Promise<void> {
    const connection = await openConnection(url);
    try {
      for (const picture of left) {
        const { body } = await connection.send(await preparePost(kind, picture, { query, wait: true }));
        const task = JSON.parse(body).data;
        if (task?.state !== 'SUCCESS') throw new Error(`${picture}: ${body.slice(0, 500)}`);
        found.set(picture, read(task.result));
      }
    } finally {
      connection.close();
    }
  }

  await Promise.all(Array.from({ length: inFlight }, work));
  const seconds = (performance.now() - startedAt) / 1000;
  const options = Object.entries(query).map(([name, value]) => `${name}=${value}`);
  tell(`${pictures.length} pictures in ${seconds.toFixed(1)} s (${options.join(' ')})`);
  return found;
}
