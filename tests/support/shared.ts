import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const SHARED = resolve(import.meta.dirname, '../../../shared');

let told = false;

/** Absolute path of a file in the shared material, e.g. `sharedPath('models/yolox_nano.onnx')`. */
export function sharedPath(path: string): string {
  return resolve(SHARED, path);
}

/**
 * Whether the shared material (weights, labelled pictures) lies beside this checkout; for `describe.skipIf(!requireShared())`.
 *
 * @throws Error where it is missing and CI=true: a run that proves nothing must not look green
 */
export function requireShared(): boolean {
  if (existsSync(SHARED)) return true;
  if (process.env.CI === 'true') throw new Error('The folder ../shared with test material is missing.');
  if (!told) console.warn('The folder ../shared with test material is missing: tests that need it are skipped.');
  told = true;
  return false;
}
