/**
 * A detection process: loads its models once and then answers one task at a time. `session.run` blocks this thread,
 * which is why it is a process of its own: its parent stays free and can end it at any moment.
 *
 * What few tasks need is imported when the first one does: a start costs as much as fifteen pictures.
 */
import { flushCompileCache } from 'node:module';
import { constants, setPriority } from 'node:os';
import process from 'node:process';
import type { Detector } from '../detect/detector.ts';
import { createDetector } from '../detect/registry.ts';
import { AppError } from '../errors.ts';
import type { ModelCatalog, ReadyModel } from '../models/catalog.ts';
import { endedChildrenCpuSeconds } from '../telemetry/child-cpu.ts';
import { detectInPicture } from './picture.ts';
import type { LaneAnswer, LaneMessage, LaneOrder, LaneSettings, LaneTask } from './protocol.ts';

// A Ctrl-C or a stop of the whole group reaches this process, too; when it ends is its parent's to say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));

try {
  // Detection yields to the web process and to Redis, so that uploads stay quick on a busy machine.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
} catch {
  // not allowed everywhere, and not needed
}

const tell = (message: LaneMessage) => process.send?.(message);

let settings: LaneSettings | undefined;
let given: readonly ReadyModel[] = [];
let catalog: Promise<ModelCatalog> | undefined;
const detectors = new Map<string, Promise<Detector>>();

function laneSettings(): LaneSettings {
  if (settings === undefined) throw new Error('the detection process has not been told its settings');
  return settings;
}

async function findModel(name: string): Promise<ReadyModel | undefined> {
  const { modelsDir, shippedManifest } = laneSettings();
  const known = given.find((model) => model.name === name);
  if (known !== undefined) return known;
  catalog ??= import('../models/catalog.ts').then(({ createCatalog }) => createCatalog(modelsDir, shippedManifest));
  return (await catalog).find(name);
}

async function load(name: string): Promise<Detector> {
  const { executionProviders, haarLongestSide } = laneSettings();
  const model = await findModel(name);
  if (model === undefined) {
    throw new AppError(
      'MODEL_UNAVAILABLE',
      `The model ${name} is not there. \`npm run models -- pull ${name}\` fetches it.`,
    );
  }
  const detector = await createDetector(model, { executionProviders, haarLongestSide });
  tell({ is: 'loaded', model: name, provider: detector.provider });
  return detector;
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

async function warmUp(name: string): Promise<void> {
  const detector = await detectorFor(name);
  const options = { confidence: 0.5, nms: 0.5, classes: undefined, maxDetections: 10, inputSize: undefined };
  const size = detector.frameSize({ width: 640, height: 480 }, options);
  await detector.detect({ ...size, data: new Uint8Array(size.width * size.height * 3) }, options);
}

/** Loads the models and runs each once. One that is missing is no reason to refuse tasks for another. */
async function warm(told: Extract<LaneOrder, { do: 'warm' }>): Promise<string[]> {
  settings = told.settings;
  given = told.models;
  const problems: string[] = [];
  for (const name of settings.warm) {
    try {
      await warmUp(name);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      problems.push(error.message);
    }
  }
  return problems;
}

async function detect(task: LaneTask): Promise<LaneAnswer> {
  const { imagePixels: pixels, renderThreads } = laneSettings();
  const detector = await detectorFor(task.options.model);
  if (task.media === 'image') return detectInPicture(task, detector, { pixels });
  const { detectInVideo } = await import('./video.ts');
  return detectInVideo(task, detector, { pixels, renderThreads }, (progress) => tell({ is: 'progress', progress }));
}

/** For the operator's log, with the stack where there is one. */
const inFull = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error));

async function answer(task: LaneTask): Promise<LaneAnswer> {
  try {
    return await detect(task);
  } catch (error) {
    if (error instanceof AppError) {
      const { code, message, details, cause } = error;
      return {
        ok: false,
        transient: false,
        code,
        message,
        ...(details === undefined ? {} : { details }),
        ...(cause === undefined ? {} : { cause: inFull(cause) }),
      };
    }
    const message = 'The detection failed unexpectedly.';
    return { ok: false, transient: true, code: 'INTERNAL', message, cause: inFull(error) };
  }
}

async function obey(order: LaneOrder): Promise<void> {
  if (order.do === 'warm') {
    const problems = await warm(order);
    // What was compiled is kept for the next process now: this one may be killed at any time.
    flushCompileCache();
    tell({ is: 'ready', problems });
    return;
  }
  tell({ is: 'begun' });
  const before = order.task.media === 'video' ? endedChildrenCpuSeconds() : undefined;
  const answered = await answer(order.task);
  tell({
    is: 'answer',
    answer: answered,
    ffmpegSeconds: before === undefined ? 0 : Math.max(0, endedChildrenCpuSeconds() - before),
  });
}

process.on('message', (order: LaneOrder) => void obey(order));
