import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kind } from '../contract/kinds.ts';
import { ADDED_FILE, type Manifest, type ModelEntry, readAdded, readManifest } from './manifest.ts';

/** A model whose file is there. */
export type ReadyModel = ModelEntry & {
  /** Full path of the file. */
  path: string;
};

export type ModelCatalog = {
  /** Every model that the manifests name, the shipped ones first. */
  known(): Promise<ModelEntry[]>;
  /** The known models whose file is there with the size that the manifest states. */
  ready(): Promise<ReadyModel[]>;
  find(name: string): Promise<ReadyModel | undefined>;
  /**
   * The model that a task gets when a request names none.
   *
   * @param wanted a name, or `auto` for the manifest's preference and after it any other ready model of the kind
   */
  defaultFor(kind: Kind, wanted: string): Promise<ReadyModel | undefined>;
};

const LOOK_AGAIN_AFTER_MS = 1000;

type Stamp = string;

async function stampOf(path: string): Promise<Stamp> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs}:${size}:${ino}`;
  } catch {
    return 'absent';
  }
}

async function isReady(entry: ModelEntry, path: string): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size === entry.bytes;
  } catch {
    return false;
  }
}

/**
 * What models there are, read anew when the manifests or files change and at most once a second, so that it may be
 * asked with every request. Loads no model: the web process uses it.
 *
 * @param modelsDir folder of the weights
 * @param shippedManifest path of the project's `manifest.json`
 */
export function createCatalog(modelsDir: string, shippedManifest: string): ModelCatalog {
  const addedPath = join(modelsDir, ADDED_FILE);
  let shipped: { stamp: Stamp; manifest: Manifest } | undefined;
  let added: { stamp: Stamp; models: ModelEntry[] } | undefined;
  let state: { known: ModelEntry[]; ready: ReadyModel[]; auto: Manifest['auto'] } | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<NonNullable<typeof state>> | undefined;

  async function look(): Promise<NonNullable<typeof state>> {
    const [shippedStamp, addedStamp] = await Promise.all([stampOf(shippedManifest), stampOf(addedPath)]);
    if (shipped?.stamp !== shippedStamp) {
      shipped = { stamp: shippedStamp, manifest: await readManifest(shippedManifest) };
    }
    if (added?.stamp !== addedStamp) {
      // A broken list of added models must not take the shipped ones away; `models list` names what is wrong with it.
      added = { stamp: addedStamp, models: await readAdded(addedPath).catch(() => []) };
    }
    const { manifest } = shipped;
    const taken = new Set(manifest.models.map((model) => model.name));
    const known = [...manifest.models, ...added.models.filter((model) => !taken.has(model.name))];
    const checked = await Promise.all(
      known.map(async (entry): Promise<ReadyModel[]> => {
        const path = join(modelsDir, entry.file);
        return (await isReady(entry, path)) ? [{ ...entry, path }] : [];
      }),
    );
    state = { known, ready: checked.flat(), auto: manifest.auto };
    lookedAt = performance.now();
    return state;
  }

  async function current(): Promise<NonNullable<typeof state>> {
    if (state !== undefined && performance.now() - lookedAt < LOOK_AGAIN_AFTER_MS) return state;
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  return {
    async known() {
      return (await current()).known;
    },
    async ready() {
      return (await current()).ready;
    },
    async find(name) {
      return (await current()).ready.find((model) => model.name === name);
    },
    async defaultFor(kind, wanted) {
      const { ready, auto } = await current();
      const candidates = ready.filter((model) => model.task === kind);
      if (wanted !== 'auto') return candidates.find((model) => model.name === wanted);
      for (const name of auto[kind]) {
        const preferred = candidates.find((model) => model.name === name);
        if (preferred !== undefined) return preferred;
      }
      return candidates[0];
    },
  };
}
