/**
 * A detection process: loads its models once and then answers one task at a time. `session.run` blocks this thread,
 * which is why it is a process of its own: its parent stays free and can end it at any moment.
 */
import { constants, setPriority } from 'node:os';
import process from 'node:process';
import workerpool from 'workerpool';
import type { Detector } from '../detect/detector.ts';
import { createDetector } from '../detect/registry.ts';
import { AppError } from '../errors.ts';
import { createCatalog, type ModelCatalog } from '../models/catalog.ts';
import { detectInPicture } from './picture.ts';
import { type LaneAnswer, type LaneReady, LaneSettings, type PictureTask } from './protocol.ts';

// A Ctrl-C reaches the whole process group; when this process ends is its parent's to say.
process.on('SIGINT', () => undefined);

try {
  // Detection yields to the web process and to Redis, so that uploads stay quick on a busy machine.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
} catch {
  // not allowed everywhere, and not needed
}

let settings: LaneSettings | undefined;
let catalog: ModelCatalog | undefined;
const detectors = new Map<string, Promise<Detector>>();

function laneSettings(): LaneSettings {
  if (settings === undefined) throw new Error('the detection process has not been told its settings');
  return settings;
}

async function load(name: string): Promise<Detector> {
  const { executionProviders, haarLongestSide } = laneSettings();
  const model = await catalog?.find(name);
  if (model === undefined) {
    throw new AppError(
      'MODEL_UNAVAILABLE',
      `The model ${name} is not there. \`npm run models -- pull ${name}\` fetches it.`,
    );
  }
  return createDetector(model, { executionProviders, haarLongestSide });
}

/** The loaded model; one that could not be loaded is tried again the next time. */
function detectorFor(name: string): Promise<Detector> {
  const loaded = detectors.get(name);
  if (loaded !== undefined) return loaded;
  const loading = load(name);
  detectors.set(name, loading);
  loading.catch(() => detectors.delete(name));
  return loading;
}

async function warm(given: unknown): Promise<LaneReady> {
  settings = LaneSettings.parse(given);
  catalog = createCatalog(settings.modelsDir, settings.shippedManifest);
  for (const name of settings.warm) {
    const detector = await detectorFor(name);
    const options = { confidence: 0.5, nms: 0.5, classes: undefined, maxDetections: 10, inputSize: undefined };
    const size = detector.frameSize({ width: 640, height: 480 }, options);
    await detector.detect({ ...size, data: new Uint8Array(size.width * size.height * 3) }, options);
  }
  return { pid: process.pid, loaded: [...detectors.keys()] };
}

async function picture(task: PictureTask): Promise<LaneAnswer> {
  try {
    return await detectInPicture(task, await detectorFor(task.options.model), { pixels: laneSettings().imagePixels });
  } catch (error) {
    if (error instanceof AppError) {
      const { code, message, details, cause } = error;
      return {
        ok: false,
        transient: false,
        code,
        message,
        ...(details === undefined ? {} : { details }),
        ...(cause === undefined ? {} : { cause: String(cause) }),
      };
    }
    const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { ok: false, transient: true, code: 'INTERNAL', message: 'The detection failed unexpectedly.', cause };
  }
}

workerpool.worker({ warm, picture });
