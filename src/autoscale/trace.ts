import { z } from 'zod';
import { KIND_NAMES } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';

const Recorded = z.strictObject({
  length: z.number().min(0),
  wait_s: z.number().min(0),
  cpu_percent: z.number().min(0).optional(),
});

const Arrivals = z.strictObject({ arrivals_per_min: z.number().min(0) });

const common = {
  /** Whose rules are asked. */
  kind: z.enum(KIND_NAMES),
  /** Time of the first point. */
  start: z.iso.datetime({ offset: true }),
  /** Seconds from one point to the next. */
  step_s: z.number().min(1),
  /** Workers at the start; as many as must be where unset. */
  workers: z.int().min(0).optional(),
};

/**
 * What happens to a queue over time: either figures as they were recorded, which do not change with the number of workers,
 * or tasks that arrive, which a model of the queue works off.
 */
export const Trace = z.union([
  z.strictObject({ ...common, points: z.array(Recorded).min(1) }),
  z.strictObject({
    ...common,
    /** Seconds that a task takes, and tasks that a worker runs at a time. */
    task_s: z.number().positive(),
    slots: z.int().min(1).default(1),
    /** Seconds until a further worker takes tasks. */
    start_s: z.number().min(0).default(5),
    points: z.array(Arrivals).min(1),
  }),
]);
export type Trace = z.infer<typeof Trace>;
export type ArrivalsTrace = Extract<Trace, { task_s: number }>;

/** @throws StartError saying what is wrong with the trace */
export function parseTrace(text: string, file: string): Trace {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new StartError(`${file} is no JSON: ${(error as Error).message}.`);
  }
  const parsed = Trace.safeParse(json);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.flatMap((issue) => (issue.code === 'invalid_union' ? issue.errors.flat() : issue));
  const problems = issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  throw new StartError(`${file} cannot be used: ${[...new Set(problems)].slice(0, 6).join('; ')}.`);
}
