import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

/** Any Kubernetes object, as far as tests look at all of them alike. */
export type Manifest = {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  [field: string]: unknown;
};

type Tree = { [key: string]: unknown } | unknown[];
type Target = { kind?: string; name?: string };
type Kustomization = {
  namespace?: string;
  resources: string[];
  images?: { name: string; newName: string; newTag: string }[];
  patches?: { path: string; target: Target }[];
  replacements?: {
    source: Target & { fieldPath: string };
    targets: { select: Target; fieldPaths: string[] }[];
  }[];
};
type Operation = { op: 'add' | 'replace' | 'remove'; path: string; value?: unknown };

const KNOWN_FIELDS = ['apiVersion', 'kind', 'namespace', 'resources', 'images', 'patches', 'replacements'];

const read = <T>(path: string) => parse(readFileSync(path, 'utf8')) as T;

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null;

function fieldOf(tree: unknown, key: string): unknown {
  return isTree(tree) ? (tree as Record<string, unknown>)[key] : undefined;
}

function matches({ kind, name }: Target, object: Manifest): boolean {
  return (kind === undefined || object.kind === kind) && (name === undefined || object.metadata.name === name);
}

/** Applies one operation of RFC 6902; what is replaced or removed must be there. */
function applyOperation(object: Manifest, { op, path, value }: Operation): void {
  const keys = path.split('/').slice(1);
  const last = keys.pop() ?? '';
  const parent = keys.reduce(fieldOf, object as unknown);
  if (!isTree(parent)) throw new Error(`${path} leads nowhere in ${object.kind} ${object.metadata.name}.`);
  if (op !== 'add' && fieldOf(parent, last) === undefined) throw new Error(`There is no ${path} to ${op}.`);
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    parent.splice(index, op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [structuredClone(value)]));
  } else if (op === 'remove') delete parent[last];
  else parent[last] = structuredClone(value);
}

/** Sets a field of kustomize's path form, in which `[key=value]` stands for all elements of a list that have it. */
function setField(tree: unknown, path: string[], value: unknown): number {
  const [key = '', ...rest] = path;
  const selector = /^\[(.+)=(.+)\]$/.exec(key);
  if (selector !== null) {
    if (!Array.isArray(tree)) return 0;
    const chosen = tree.filter((element) => fieldOf(element, selector[1] ?? '') === selector[2]);
    return chosen.reduce((sum, element) => sum + setField(element, rest, value), 0);
  }
  if (rest.length > 0) return setField(fieldOf(tree, key), rest, value);
  if (fieldOf(tree, key) === undefined) return 0;
  (tree as Record<string, unknown>)[key] = value;
  return 1;
}

function replaceImages(tree: unknown, images: NonNullable<Kustomization['images']>): void {
  if (!isTree(tree)) return;
  for (const value of Object.values(tree)) replaceImages(value, images);
  const current = fieldOf(tree, 'image');
  const image = images.find(({ name }) => current === name || String(current).startsWith(`${name}:`));
  if (image !== undefined) (tree as Record<string, unknown>).image = `${image.newName}:${image.newTag}`;
}

/**
 * Merges a folder as `kustomize build` does, for as much of kustomize as deploy/k8s uses: resources, namespace, images,
 * patches of RFC 6902, replacements.
 *
 * @throws Error for anything else
 */
export function mergeFolder(folder: string): Manifest[] {
  const kustomization = read<Kustomization>(join(folder, 'kustomization.yaml'));
  const unknown = Object.keys(kustomization).filter((field) => !KNOWN_FIELDS.includes(field));
  if (unknown.length > 0) throw new Error(`${folder} uses ${unknown.join(', ')}, which this helper cannot do.`);
  const objects = kustomization.resources.flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return mergeFolder(path);
    return parseAllDocuments(readFileSync(path, 'utf8')).map((document) => document.toJS() as Manifest);
  });
  const { namespace } = kustomization;
  for (const object of objects) {
    if (namespace === undefined) break;
    if (object.kind === 'Namespace') object.metadata.name = namespace;
    else object.metadata.namespace = namespace;
  }
  for (const { path, target } of kustomization.patches ?? []) {
    const found = objects.filter((object) => matches(target, object));
    if (found.length === 0) throw new Error(`${path} has no target.`);
    for (const object of found) {
      for (const operation of read<Operation[]>(join(folder, path))) applyOperation(object, operation);
    }
  }
  for (const object of objects) replaceImages(object, kustomization.images ?? []);
  for (const { source, targets } of kustomization.replacements ?? []) {
    const value = source.fieldPath
      .split('.')
      .reduce(fieldOf, objects.find((object) => matches(source, object)) as unknown);
    for (const { select, fieldPaths } of targets) {
      for (const path of fieldPaths) {
        const set = objects
          .filter((object) => matches(select, object))
          .map((object) => setField(object, path.split('.'), value));
        if (value === undefined || set.length === 0 || set.includes(0)) throw new Error(`Nothing to replace: ${path}.`);
      }
    }
  }
  return objects;
}

/** The same by kustomize itself, undefined where this machine has none. */
export function mergeByKustomize(folder: string): Manifest[] | undefined {
  for (const [program, args] of [
    ['kustomize', ['build']],
    ['kubectl', ['kustomize']],
  ] as const) {
    try {
      const text = execFileSync(program, [...args, folder], { encoding: 'utf8', stdio: 'pipe' });
      return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return undefined;
}
