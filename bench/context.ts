import type { Kind } from '../src/contract/kinds.ts';
import { createCatalog, type ReadyModel } from '../src/models/catalog.ts';
import type { BenchPictures } from './pictures.ts';
import { MANIFEST, MODELS_DIR } from './service.ts';

/** What every measurement of the bench gets. */
export type Context = {
  pictures: BenchPictures;
  /** Detection processes of each worker, and of the raw limit. */
  slots: number;
  /** Shorter rounds, fewer of them and fewer tasks: for a first look, not for figures to publish. */
  quick: boolean;
  models: { face: ReadyModel; object: ReadyModel; haar: ReadyModel | undefined };
  profiles: string | undefined;
};

/** @throws Error where a kind has no model */
export async function findModels(): Promise<Context['models']> {
  const catalog = createCatalog(MODELS_DIR, MANIFEST);
  const defaultOf = async (kind: Kind) => {
    const model = await catalog.defaultFor(kind, 'auto');
    if (model === undefined) throw new Error(`there is no model for ${kind} detection; run "npm run models -- pull"`);
    return model;
  };
  return { face: await defaultOf('face'), object: await defaultOf('object'), haar: await catalog.find('haar') };
}
