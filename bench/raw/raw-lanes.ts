import { resolve } from 'node:path';
import process from 'node:process';
import type { Kind } from '../../src/contract/kinds.ts';
import { BATCH } from '../../src/lanes/batch-class.ts';
import { LANE_ENVIRONMENT, LANE_NODE_OPTIONS } from '../../src/lanes/lane-memory.ts';
import type { ReadyModel } from '../../src/models/catalog.ts';
import { startChild } from '../child.ts';
import type { PictureSet } from '../pictures.ts';
import type { RawOrder, RawOutcome, RawWork } from './messages.ts';

export type RawLanes = {
  /** Pictures per second of all processes together. */
  rate(seconds: number): Promise<number>;
  /** Times in ms of one piece of work, done by all processes at once as they share the machine when they detect. */
  times(work: RawWork, seconds: number, pauseMs?: number): Promise<number[]>;
  close(): Promise<void>;
};

/** Starts `count` processes that detect without HTTP and queue; each has done its first pictures already. */
export async function startRawLanes(
  count: number,
  kind: Kind,
  model: ReadyModel,
  pictures: PictureSet,
): Promise<RawLanes> {
  const script = resolve(import.meta.dirname, 'raw-lane.ts');
  // Started as the service starts its own.
  const [execPath = process.execPath, ...batch] = [...BATCH, process.execPath];
  const options = {
    execPath,
    execArgv: [...batch, ...LANE_NODE_OPTIONS],
    env: { ...process.env, ...LANE_ENVIRONMENT },
  };
  const children = Array.from({ length: count }, () => startChild<RawOrder, RawOutcome>(script, options));
  const close = async () => {
    await Promise.all(children.map((child) => child.close()));
  };
  try {
    await Promise.all(children.map((child) => child.ask({ load: { kind, model, pictures } })));
    await Promise.all(children.map((child) => child.ask({ work: 'detect', seconds: 0.5, pauseMs: 0 })));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async rate(seconds) {
      const outcomes = await Promise.all(children.map((child) => child.ask({ work: 'detect', seconds, pauseMs: 0 })));
      return outcomes.reduce((sum, outcome) => sum + outcome.rounds / outcome.seconds, 0);
    },
    async times(work, seconds, pauseMs = 0) {
      const outcomes = await Promise.all(children.map((child) => child.ask({ work, seconds, pauseMs })));
      return outcomes.flatMap((outcome) => outcome.timesMs);
    },
    close,
  };
}
