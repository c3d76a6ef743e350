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
  let family: DetectorFamily;
  try {
    family = (await import(`./families/${model.family}.ts`)) as DetectorFamily;
  } catch (cause) {
    throw new AppError('MODEL_UNAVAILABLE', `There is no detector for the model ${model.name}.`, { cause });
  }
  try {
    return await family.create(model, settings);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError(
      'MODEL_UNAVAILABLE',
      `The model ${model.name} cannot be loaded; "npm run models -- verify" tells whether its file is whole.`,
      { cause },
    );
  }
}
