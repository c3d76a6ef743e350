import { constants } from 'node:os';
import { AppError, TransientError } from '../errors.ts';
import type { ReadyModel } from '../models/catalog.ts';
import type { Detector, DetectorSettings } from './detector.ts';

/** What a file under `families/` exports. */
export type DetectorFamily = {
  create(model: ReadyModel, settings: DetectorSettings): Promise<Detector>;
};

const { ENOENT, EACCES, EPERM, EISDIR, ENOTDIR } = constants.errno;

/** What is wrong with a file, or with its place, until somebody mends it. */
const LASTING: readonly number[] = [ENOENT, EACCES, EPERM, EISDIR, ENOTDIR];

/** The system's number of a fault as Node has it, or in the words of onnxruntime. */
function systemErrorOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { errno, message } = error as NodeJS.ErrnoException;
  if (errno !== undefined) return Math.abs(errno);
  const told = /system error number (\d+)/.exec(message)?.[1];
  return told === undefined ? undefined : Number(told);
}

/** Whether loading may go well the next time: a fault of disk, memory or file handles, not of the file. */
function mayPass(error: unknown): boolean {
  const number = systemErrorOf(error);
  if (number !== undefined) return !LASTING.includes(number);
  return error instanceof Error && /bad_alloc|failed to allocate/i.test(error.message);
}

/**
 * Loads a model into a detector. The family that the manifest names is the file of that name, so a new detector is
 * one new file.
 *
 * @throws AppError `MODEL_UNAVAILABLE` when there is no such detector or the file cannot be loaded, TransientError
 *   where the system is at fault
 */
export async function createDetector(model: ReadyModel, settings: DetectorSettings): Promise<Detector> {
  try {
    const family = (await import(`./families/${model.family}.ts`)) as DetectorFamily;
    return await family.create(model, settings);
  } catch (cause) {
    if (mayPass(cause)) throw new TransientError(`The model ${model.name} cannot be loaded now.`, { cause });
    throw new AppError(
      'MODEL_UNAVAILABLE',
      `The model ${model.name} cannot be loaded; "npm run models -- verify" tells whether its file is whole.`,
      { cause },
    );
  }
}
