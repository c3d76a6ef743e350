import type { Kind } from '../../src/contract/kinds.ts';

/** What the load generator is asked to do. */
export type Load = {
  url: string;
  kind: Kind;
  /** Paths, posted in turn. */
  pictures: string[];
  query: Record<string, string>;
  /** True: each request lasts until its task has ended; false: until it is accepted. */
  wait: boolean;
  inFlight: number;
  /** Pause of each connection after an answer, in ms. */
  pauseMs: number;
  /** So many seconds, or so many requests. */
  until: { seconds: number } | { requests: number };
  /** Seconds of the same load before anything counts. */
  warmSeconds: number;
};

export type LoadOutcome = {
  /** Requests answered within the measured time, and that time. */
  completed: number;
  seconds: number;
  /** All requests, those before and after the measured time too. */
  total: number;
  latenciesMs: number[];
  /** What went wrong, one line each; the first ten. */
  failures: string[];
  /** CPU time of the load generator for all requests, in ms. */
  cpuMs: number;
};
