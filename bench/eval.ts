import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { usableCores } from '../src/config.ts';
import { createCatalog, type ReadyModel } from '../src/models/catalog.ts';
import { DEFAULT_DATA } from './eval/data-folder.ts';
import type { Service } from './eval/detections.ts';
import { evaluateFaces } from './eval/faces.ts';
import { type Labels, readLabels } from './eval/labels.ts';
import { evaluateObjects } from './eval/objects.ts';
import { watchMachine } from './machine.ts';
import { printReport, rounded, tell } from './report.ts';
import { MANIFEST, MODELS_DIR, startService, stopServices } from './service.ts';

const USAGE = `Usage: npm run eval -- [options]
  --data <folder>    labelled pictures (default: ../shared/data); any of
                       faces/faces.json, faces/without-faces.json, faces-points/points.json,
                       coco/instances.json, coco-val-person/person_keypoints.json
                     in COCO's format, pictures in images/ beside each
  --models x,y,...   only these models (default: every one that is ready)`;

class UsageError extends Error {}

function readOptions() {
  let values: { data?: string; models?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      options: { data: { type: 'string' }, models: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    }));
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
  return {
    help: values.help === true,
    data: resolve(values.data ?? DEFAULT_DATA),
    models: values.models?.split(',').map((name) => name.trim()),
  };
}

async function chooseModels(wanted: readonly string[] | undefined): Promise<ReadyModel[]> {
  const ready = await createCatalog(MODELS_DIR, MANIFEST).ready();
  const missing = wanted?.find((name) => !ready.some((model) => model.name === name));
  if (missing !== undefined) throw new UsageError(`There is no model ${missing}; "npm run models -- list" names them.`);
  const models = ready.filter(({ name }) => wanted?.includes(name) ?? true);
  if (models.length === 0) throw new UsageError('There is no model; "npm run models -- pull" fetches some.');
  return models;
}

async function evaluateAll(service: Service, models: readonly ReadyModel[], labels: Labels) {
  const faces: Record<string, Awaited<ReturnType<typeof evaluateFaces>>> = {};
  const objects: Record<string, Awaited<ReturnType<typeof evaluateObjects>>> = {};
  for (const model of models) {
    tell(`${model.name}:`);
    if (model.task === 'face') faces[model.name] = await evaluateFaces(service, model, labels);
    else objects[model.name] = await evaluateObjects(service, model, labels);
  }
  return { faces, objects };
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) return void process.stdout.write(`${USAGE}\n`);
  const labels = await readLabels(options.data);
  if (Object.values(labels).every((part) => part === undefined)) {
    throw new UsageError(`There are no labelled pictures in ${options.data}; name a folder that has some with --data.`);
  }
  const models = await chooseModels(options.models);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopServices().finally(() => process.exit(1)));
  }
  const startedAt = performance.now();
  const describeMachine = watchMachine();
  const slots = usableCores();
  try {
    const { url } = await startService();
    const results = await evaluateAll({ url, inFlight: 2 * slots }, models, labels);
    await stopServices();
    printReport({
      eval: 'recognize',
      machine: describeMachine(),
      ...results,
      seconds: rounded((performance.now() - startedAt) / 1000, 0),
    });
  } finally {
    await stopServices();
  }
}

try {
  await main();
} catch (error) {
  tell(error instanceof UsageError ? error.message : `The evaluation failed: ${(error as Error).stack}`);
  process.exitCode = 1;
}
