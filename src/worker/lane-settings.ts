import { join } from 'node:path';
import type { Config } from '../config.ts';
import type { LaneSettings } from '../lanes/protocol.ts';

/** Encoding by more threads than this gains little. */
const RENDER_THREADS = 4;

/** What the detection processes of a worker are told; `warm` names the models to load before any work. */
export function laneSettings(config: Config, warm: string[]): LaneSettings {
  return {
    modelsDir: config.paths.models,
    shippedManifest: config.paths.manifest,
    warm,
    executionProviders: config.models.executionProviders,
    haarLongestSide: config.limits.haarLongestSide,
    renderThreads: Math.min(RENDER_THREADS, config.worker.concurrency),
    imagePixels: config.limits.imagePixels,
    // Beside the code itself, and not among data, in which names of ours would look like what is kept of tasks.
    compiledCode: join(config.paths.root, 'node_modules', '.cache', 'recognize'),
  };
}
