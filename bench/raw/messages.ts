import type { Kind } from '../../src/contract/kinds.ts';
import type { ModelEntry } from '../../src/models/manifest.ts';
import type { PictureSet } from '../pictures.ts';

/** What a raw process measures, over and over for some seconds. */
export type RawWork =
  /** Decode, letterbox, inference and NMS with the service's own modules. */
  | 'detect'
  /** The same pictures through sharp alone, written anew here. */
  | 'sharp'
  /** The model alone, through onnxruntime, on an input that is already filled. */
  | 'session';

export type RawOrder =
  | { load: { kind: Kind; model: ModelEntry & { path: string }; pictures: PictureSet } }
  | { work: RawWork; seconds: number; pauseMs: number };

export type RawOutcome = { rounds: number; seconds: number; timesMs: number[] };
