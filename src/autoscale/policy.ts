import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';
import { Schedule } from './schedule.ts';

/** Bounds of a figure: strictly above, strictly below, or both. */
const Bounds = z
  .strictObject({ above: z.number().optional(), below: z.number().optional() })
  .refine(({ above, below }) => above !== undefined || below !== undefined, 'needs "above" or "below"');

/** What rules may ask for; see {@link Figures} for what each is. */
export const FIGURES = ['length', 'wait_s', 'cpu_percent'] as const;
export type FigureName = (typeof FIGURES)[number];

export type Figures = {
  /** Tasks that wait: waiting, prioritised, and due to be tried again. */
  length: number;
  /** Average wait in seconds. */
  wait_s: number;
  /** CPU of the workers of a kind in percent of the cores that their slots may use; undefined where none is heard of. */
  cpu_percent: number | undefined;
  /** Where the queue lets only so many tasks run at a time over all workers: that, and the slots online. */
  limit?: { concurrency: number; slots: number } | undefined;
  /** Whether the queue is held: no worker takes anything of it. */
  paused?: boolean;
};

const Rule = z.strictObject({
  /** All of these must hold. */
  if: z
    .partialRecord(z.enum(FIGURES), Bounds)
    .refine((conditions) => Object.keys(conditions).length > 0, 'needs at least one condition'),
  /** Workers to add; negative to remove. */
  add: z.int().refine((count) => count !== 0, 'must not be 0'),
});
export type Rule = z.infer<typeof Rule>;

const Cooldown = z.strictObject({
  /** Seconds after any change before workers are added, */
  up_s: z.number().min(0).default(60),
  /** and before one is removed. */
  down_s: z.number().min(0).default(300),
});

const RULES: Rule[] = [
  { if: { length: { above: 100 }, wait_s: { above: 30 } }, add: 2 },
  { if: { length: { below: 10 }, cpu_percent: { below: 30 } }, add: -1 },
];

/** How many workers of one kind there are to be. */
export const Policy = z
  .strictObject({
    min: z.int().min(1).default(1),
    max: z.int().min(1),
    cooldown: Cooldown.prefault({}),
    /** The first that holds decides. */
    rules: z.array(Rule).default(RULES),
    /** Minimums by the clock, above which the rules decide. */
    schedules: z.array(Schedule).default([]),
  })
  .refine(({ min, max }) => min <= max, 'min must not be greater than max')
  .refine(({ schedules, max }) => schedules.every((schedule) => schedule.min <= max), {
    message: 'no schedule may ask for more than max',
    path: ['schedules'],
  });
export type Policy = z.infer<typeof Policy>;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

export const AutoscaleRules = z.strictObject({
  $schema: z.string().optional(),
  timezone: z.string().refine(isTimeZone, 'must be a time zone such as Europe/Berlin').default('UTC'),
  /** Seconds from one look to the next. */
  every_s: z.number().min(1).max(300).default(10),
  workers: z
    .strictObject(
      Object.fromEntries(KIND_NAMES.map((kind) => [kind, Policy.optional()])) as Record<
        Kind,
        z.ZodOptional<typeof Policy>
      >,
    )
    .refine((kinds) => Object.keys(kinds).length > 0, `must name ${KIND_NAMES.join(' or ')}`),
});
export type AutoscaleRules = z.infer<typeof AutoscaleRules>;

/** @throws StartError naming what is wrong in which place */
export function parseRules(text: string, file: string): AutoscaleRules {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new StartError(`${file} is no JSON: ${(error as Error).message}.`);
  }
  const parsed = AutoscaleRules.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  throw new StartError(`${file} cannot be used: ${problems.join('; ')}.`);
}

/**
 * Reads the rules by which workers are added and removed.
 *
 * @throws StartError when the file cannot be read or is wrong
 */
export function readRules(file: string): AutoscaleRules {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EISDIR') throw new StartError(`${file} is a folder; AUTOSCALE_FILE must name a file that is there.`);
    throw new StartError(`${file} cannot be read (${code}); AUTOSCALE_FILE must name a file that everybody may read.`);
  }
  return parseRules(text, file);
}
