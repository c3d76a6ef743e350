import process from 'node:process';

/** A measured value beside what it has to reach. */
export type Figure = { value: number; at_least?: number; at_most?: number; met: boolean };

export const rounded = (value: number, digits = 2) => Number(value.toFixed(digits));

export function atLeast(value: number, target: number, digits = 2): Figure {
  return { value: rounded(value, digits), at_least: rounded(target, digits), met: value >= target };
}

export function atMost(value: number, target: number, digits = 2): Figure {
  return { value: rounded(value, digits), at_most: rounded(target, digits), met: value <= target };
}

/** The value below which `fraction` of all lie, between two neighbours by their distance; NaN of nothing. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * fraction;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export const median = (values: readonly number[]) => percentile(values, 0.5);

/** Paths of all figures that miss their target, as `throughput.face_1920x1080.ratio`. */
export function missedTargets(report: unknown, path = ''): string[] {
  if (typeof report !== 'object' || report === null) return [];
  if ('met' in report && report.met === false) return [path];
  return Object.entries(report).flatMap(([name, part]) => missedTargets(part, path === '' ? name : `${path}.${name}`));
}

/** Progress goes to standard error: standard output has the JSON object alone. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Prints the one JSON object, on one line, as the last line. */
export function printReport(report: object): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
