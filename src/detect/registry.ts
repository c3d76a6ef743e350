import { AppError } from '../errors.ts';
import type { ReadyModel } from '../models/catalog.ts';
import type { Detector, DetectorSettings } from './detector.ts';

/** What a file under `families/` exports. */
export type DetectorFamily = {
  create(model: ReadyModel, settings: DetectorSettings): Promise<Detector>;
};

/**
 * Loads a model into a detector. The family that the manifest names is the file of that name, so a new detector is
 * one new file.
 *
 * @throws AppError `MODEL_UNAVAILABLE` when there is no such detector or the file cannot be loaded
 */
export async function createDetector(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  try {
    const family = (await import(`./families/${model.family}.ts`)) as DetectorFamily;
    return await family.create(model, settings);
  } catch (cause) {
    throw new AppError(
      'MODEL_UNAVAILABLE',
      `The model ${model.name} cannot be loaded; "npm run models -- verify" tells whether its file is whole.`,
      { cause },
    );
  }
}
