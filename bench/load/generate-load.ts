import { resolve } from 'node:path';
import { type Child, startChild } from '../child.ts';
import type { Load, LoadOutcome } from './messages.ts';

const DEFAULTS = { query: {}, wait: true, inFlight: 1, pauseMs: 0, warmSeconds: 0 };

export type LoadGenerator = {
  readonly pid: number;
  /** @throws Error naming the first answer that was not the expected one */
  run(load: Omit<Load, keyof typeof DEFAULTS> & Partial<Load>): Promise<LoadOutcome>;
  close(): Promise<void>;
};

export function startLoadGenerator(): LoadGenerator {
  const child: Child<Load, LoadOutcome> = startChild(resolve(import.meta.dirname, 'generator.ts'));
  return {
    pid: child.pid,
    async run(load) {
      const outcome = await child.ask({ ...DEFAULTS, ...load });
      if (outcome.failures.length > 0) throw new Error(`the service answered ${outcome.failures[0]}`);
      return outcome;
    },
    close: () => child.close(),
  };
}
