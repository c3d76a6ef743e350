import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { type Config, loadConfig } from '../src/config.ts';
import { StartError } from '../src/errors.ts';
import { addModel, parseLabels } from '../src/models/add.ts';
import { createCatalog } from '../src/models/catalog.ts';
import { ADDED_FILE, type ModelEntry, readAdded, readManifest } from '../src/models/manifest.ts';
import { CASCADE_DIRS, type PullOutcome, pullModel, removeStaleParts, verifyModel } from '../src/models/pull.ts';

const USAGE = `Usage: npm run models -- <command>
  list                       the models, and which are ready
  pull [name...] [--strict]  gets models; without names those that the service starts with, of which with --strict
                             none may be missing in the end
  verify                     compares size and SHA-256 sum of every file
  add <file> [--name <name>] [--labels <file>]
                             takes in a model of your own (ONNX); labels: one in a line, or a JSON array`;

/** What a pull without names gets; the second list only where it can be had. */
const DEFAULT_PULL = ['haar', 'yunet', 'yolox_nano'];
const DEFAULT_PULL_IF_POSSIBLE = ['yolox_tiny'];

const say = (line: string) => process.stdout.write(`${line}\n`);
const warn = (line: string) => process.stderr.write(`${line}\n`);

function shippedManifest(config: Config): string {
  return resolve(config.paths.root, 'models/manifest.json');
}

async function knownModels(config: Config): Promise<ModelEntry[]> {
  const shipped = (await readManifest(shippedManifest(config))).models;
  const added = await readAdded(resolve(config.paths.models, ADDED_FILE));
  const names = new Set(shipped.map((entry) => entry.name));
  return [...shipped, ...added.filter((entry) => !names.has(entry.name))];
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function inputOf({ input }: ModelEntry): string {
  if (input.width === null || input.height === null) return 'any';
  return input.free ? 'free' : `${input.width}x${input.height}`;
}

async function list(config: Config): Promise<number> {
  await knownModels(config);
  const catalog = createCatalog(config.paths.models, shippedManifest(config));
  const ready = new Set((await catalog.ready()).map((model) => model.name));
  const defaults = new Set(
    await Promise.all([
      catalog.defaultFor('face', config.models.face).then((model) => model?.name),
      catalog.defaultFor('object', config.models.object).then((model) => model?.name),
    ]),
  );
  const rows = (await catalog.known()).map((entry) => [
    entry.name,
    entry.task,
    `${ready.has(entry.name) ? 'ready' : 'not here'}${defaults.has(entry.name) ? ', default' : ''}`,
    inputOf(entry),
    `${entry.labels.length}`,
    `${(entry.bytes / 1e6).toFixed(1)} MB`,
    entry.licence,
  ]);
  say(columns([['NAME', 'TASK', 'STATE', 'INPUT', 'LABELS', 'SIZE', 'LICENCE'], ...rows]));
  return 0;
}

function failure(entry: ModelEntry, outcome: PullOutcome): string {
  const tried = outcome.attempts.map(({ where, why }) => `\n    ${where} ${why}`).join('');
  return `${entry.name} could not be had; tried:${tried || ' nothing, as it has no source'}`;
}

async function pull(config: Config, names: readonly string[], strict: boolean): Promise<number> {
  const known = await knownModels(config);
  const wanted = names.length > 0 ? names : [...DEFAULT_PULL, ...DEFAULT_PULL_IF_POSSIBLE];
  const entries = wanted.map((name) => {
    const entry = known.find((candidate) => candidate.name === name);
    if (entry === undefined)
      throw new StartError(`There is no model ${name}; "npm run models -- list" names them all.`);
    return entry;
  });
  await removeStaleParts(config.paths.models);
  const places = {
    mirrors: config.models.mirrors,
    siblings: [resolve(config.paths.root, '../shared/models')],
    cascadeDirs: CASCADE_DIRS,
  };
  const failed: string[] = [];
  for (const entry of entries) {
    const outcome = await pullModel(entry, config.paths.models, places);
    if (outcome.state === 'pulled') say(`${entry.name}: got it from ${outcome.from}`);
    if (outcome.state !== 'failed') continue;
    failed.push(entry.name);
    const note = names.length === 0 && DEFAULT_PULL_IF_POSSIBLE.includes(entry.name);
    warn(
      note
        ? `Note: ${entry.name}, which finds more, could not be had; "npm run models -- pull ${entry.name}" tries again.`
        : `Warning: ${failure(entry, outcome)}`,
    );
  }
  const needed = names.length > 0 ? names : strict ? DEFAULT_PULL : [];
  return failed.some((name) => needed.includes(name)) ? 1 : 0;
}

async function verify(config: Config): Promise<number> {
  const states = await Promise.all(
    (await knownModels(config)).map(async (entry) => ({ entry, state: await verifyModel(entry, config.paths.models) })),
  );
  const here = states.filter(({ state }) => state !== 'missing');
  if (here.length === 0) say('No model is here yet; "npm run models -- pull" gets them.');
  else say(columns(here.map(({ entry, state }) => [entry.name, entry.file, state])));
  return here.every(({ state }) => state === 'ok') ? 0 : 1;
}

/** Where the user typed the command: npm runs scripts from the project's folder. */
const fromUser = (path: string) => resolve(process.env.INIT_CWD ?? '.', path);

async function add(config: Config, file: string, name: string | undefined, labelsFile: string | undefined) {
  let labels: string[] | undefined;
  if (labelsFile !== undefined) {
    const text = await readFile(fromUser(labelsFile), 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new StartError(`${labelsFile} cannot be read (${error.code}).`);
    });
    labels = parseLabels(text);
  }
  // Loaded here alone: the other commands run without the runtime, and sooner.
  const { tryOut } = await import('../src/detect/onnx.ts');
  const shipped = await readManifest(shippedManifest(config));
  const entry = await addModel({ file: fromUser(file), name, labels, modelsDir: config.paths.models, shipped, tryOut });
  say(
    `${entry.name}: added (${entry.task}, layout ${entry.layout}, input ${inputOf(entry)}, ` +
      `${entry.labels.length} labels, licence ${entry.licence})`,
  );
  return 0;
}

async function main(): Promise<number> {
  let parsed: {
    values: { name?: string; labels?: string; strict?: boolean; help?: boolean };
    positionals: string[];
  };
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        name: { type: 'string' },
        labels: { type: 'string' },
        strict: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n${USAGE}`);
  }
  const { values, positionals } = parsed;
  const [command, ...rest] = positionals;
  if (values.help === true) {
    say(USAGE);
    return 0;
  }
  const config = loadConfig();
  if (command === 'list' && rest.length === 0) return list(config);
  if (command === 'pull') return pull(config, rest, values.strict === true);
  if (command === 'verify' && rest.length === 0) return verify(config);
  const [file, ...surplus] = rest;
  if (command === 'add' && file !== undefined && surplus.length === 0) {
    return add(config, file, values.name, values.labels);
  }
  throw new StartError(USAGE);
}

try {
  process.exitCode = await main();
} catch (error) {
  warn(error instanceof StartError ? error.message : `Failed: ${(error as Error).message}`);
  process.exitCode = 1;
}
