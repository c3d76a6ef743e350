import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { KIND_NAMES } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';

export const ModelName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'must be a model name');

const fraction = z.number().min(0).max(1);
const side = z.int().min(1);

const labels = z.array(z.string().min(1).max(200)).min(1);

const entryShape = {
  name: ModelName,
  task: z.enum(KIND_NAMES),
  /** Name of the detector's file under `src/detect/families`. */
  family: z.string().regex(/^[a-z][a-z0-9-]*$/),
  /** How its outputs are to be read, in the words of its family. */
  layout: z.string().regex(/^[a-z][a-z0-9-]*$/),
  /** Name inside the models folder. */
  file: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'must be a plain file name'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().min(1),
  /** SPDX identifier, `unknown` for a model of one's own that names none. */
  licence: z.string().min(1),
  licenceNote: z.string(),
  /** Official URLs. */
  sources: z.array(z.url({ protocol: /^https?$/ })),
  /** Pixels; `free` where the model takes any multiple of 32, null where it has no input size (cascades). */
  input: z.object({ width: side.nullable(), height: side.nullable(), free: z.boolean() }),
  defaults: z.object({ confidence: fraction, nms: fraction }),
  /** Accuracy as its authors state it. */
  published: z.array(z.object({ metric: z.string(), value: z.number() })),
};

export const ModelEntry = z.strictObject({ ...entryShape, labels });
export type ModelEntry = z.infer<typeof ModelEntry>;

const Manifest = z
  .strictObject({
    version: z.literal(1),
    /** Names in the order in which `auto` prefers them. */
    auto: z.record(z.enum(KIND_NAMES), z.array(ModelName)),
    labelSets: z.record(z.string(), labels),
    /** `labels` is a list or the name of a label set. */
    models: z.array(z.strictObject({ ...entryShape, labels: z.union([z.string(), labels]) })),
  })
  .transform(({ models, ...manifest }, context) => {
    const names = new Set<string>();
    const resolved = models.map((model): ModelEntry => {
      const own = typeof model.labels === 'string' ? manifest.labelSets[model.labels] : model.labels;
      if (own === undefined) context.addIssue({ code: 'custom', message: `${model.name}: unknown label set` });
      if (names.has(model.name)) context.addIssue({ code: 'custom', message: `${model.name} is there twice` });
      names.add(model.name);
      return { ...model, labels: own ?? [] };
    });
    return { ...manifest, models: resolved };
  });
export type Manifest = z.infer<typeof Manifest>;

const Added = z.strictObject({ version: z.literal(1), models: z.array(ModelEntry) });

/** File in the models folder that lists what `models add` took in, so that the shipped manifest stays as it is. */
export const ADDED_FILE = 'added.json';

function parse<T>(schema: z.ZodType<T>, what: string, text: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new StartError(`${what} is not valid JSON.`);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new StartError(`${what} is wrong at ${issue?.path.join('.') || 'its top'}: ${issue?.message}.`);
}

/**
 * Reads the shipped manifest and puts label sets in place of their names.
 *
 * @throws StartError when it is missing or wrong
 */
export async function readManifest(path: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new StartError(`The model manifest cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  return parse(Manifest, 'The model manifest', text);
}

/**
 * Reads the list of models that were added; empty when there is none.
 *
 * @throws StartError when the file is there and wrong
 */
export async function readAdded(path: string): Promise<ModelEntry[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new StartError(`The list of added models cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  return parse(Added, `The list of added models (${ADDED_FILE})`, text).models;
}

/** The text of the list of added models. */
export function formatAdded(models: readonly ModelEntry[]): string {
  return `${JSON.stringify({ version: 1, models }, null, 2)}\n`;
}
