import { createHash } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { StartError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';
import { type InputSize, inputSizeOf, LayoutError, recogniseLayout, type SeenOutput } from './layout.ts';
import { ADDED_FILE, formatAdded, type Manifest, ModelEntry, ModelName, readAdded } from './manifest.ts';
import { describeOnnx, OnnxFormatError } from './onnx-metadata.ts';
import { partPath } from './transfer.ts';

export type AddRequest = {
  /** The ONNX file to take in. */
  file: string;
  /** Name to give it; its file name without the ending when undefined. */
  name: string | undefined;
  labels: readonly string[] | undefined;
  modelsDir: string;
  shipped: Manifest;
  /** Loads the file and runs it once on a plain picture of this size. */
  tryOut(path: string, size: InputSize): Promise<SeenOutput[]>;
};

function nameFrom(file: string): string {
  return basename(file)
    .replace(/\.onnx$/i, '')
    .replace(/[^A-Za-z0-9_.-]+/g, '_')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64);
}

async function writeAdded(modelsDir: string, models: readonly ModelEntry[]): Promise<void> {
  const part = partPath(modelsDir, ADDED_FILE);
  try {
    await writeFile(part, formatAdded(models), { flush: true });
    await rename(part, join(modelsDir, ADDED_FILE));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function inspect(content: Uint8Array, part: string, request: AddRequest) {
  const model = describeOnnx(content);
  const size = inputSizeOf(model);
  let outputs: SeenOutput[];
  try {
    outputs = await request.tryOut(part, size);
  } catch (error) {
    const reason = (error as Error).message.replaceAll(part, 'the file');
    throw new StartError(`${basename(request.file)} is refused: it cannot be run (${reason}).`);
  }
  const coco = request.shipped.labelSets.coco80 ?? [];
  const layout = recogniseLayout(model, size, outputs, request.labels, coco);
  return { size, layout, licence: model.metadata.license?.trim() || 'unknown' };
}

/**
 * Takes a user's own ONNX detector into the models folder and records it in `added.json`. It is run once, from where
 * it will stay, and its layout recognised before anything has its final name. A model added before under the same
 * name is replaced.
 *
 * @returns the new entry
 * @throws StartError with a sentence that says why it is refused
 */
export async function addModel(request: AddRequest): Promise<ModelEntry> {
  const { file, modelsDir, shipped } = request;
  const name = request.name ?? nameFrom(file);
  if (!ModelName.safeParse(name).success) {
    throw new StartError(
      `"${name}" is no name for a model: letters, digits, "_", "." and "-" only; give one with --name.`,
    );
  }
  if (name === 'auto' || shipped.models.some((model) => model.name === name)) {
    throw new StartError(`The name ${name} is taken; give another one with --name.`);
  }
  const added = await readAdded(join(modelsDir, ADDED_FILE));
  const target = `${name}.onnx`;
  if (shipped.models.some((model) => model.file === target)) {
    throw new StartError(`The file name ${target} is taken by another model; give another name with --name.`);
  }

  let content: Uint8Array;
  try {
    content = await readFile(file);
  } catch (error) {
    throw new StartError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  makeFolder(modelsDir);
  const part = partPath(modelsDir, target);
  try {
    await writeFile(part, content, { flush: true });
    const { size, layout, licence } = await inspect(content, part, request);
    const entry = ModelEntry.parse({
      name,
      ...layout,
      file: target,
      sha256: createHash('sha256').update(content).digest('hex'),
      bytes: content.length,
      licence,
      licenceNote: 'Added by the operator of this service.',
      sources: [],
      input: size,
      published: [],
    });
    await rename(part, join(modelsDir, target));
    const others = added.filter((model) => model.name !== name);
    await writeAdded(modelsDir, [...others, entry]);
    return entry;
  } catch (error) {
    if (error instanceof LayoutError || error instanceof OnnxFormatError) {
      throw new StartError(`${basename(file)} is refused: ${error.message}`);
    }
    throw error;
  } finally {
    await rm(part, { force: true });
  }
}

/**
 * Reads labels from a text: a JSON array, or one label in a line.
 *
 * @throws StartError when there is none
 */
export function parseLabels(text: string): string[] {
  const trimmed = text.trim();
  let labels: unknown = trimmed.split(/\r?\n/).map((line) => line.trim());
  if (trimmed.startsWith('[')) {
    try {
      labels = JSON.parse(trimmed);
    } catch {
      throw new StartError('The labels are no valid JSON array.');
    }
  }
  const valid = Array.isArray(labels) && labels.every((label) => typeof label === 'string' && label.trim() !== '');
  if (!valid) throw new StartError('The labels must be a JSON array of names, or one name in each line.');
  return (labels as string[]).map((label) => label.trim());
}
