/** `npm run autoscale`: checks the rules, and shows what they would do. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { plot } from '../src/autoscale/plot.ts';
import { readRules } from '../src/autoscale/policy.ts';
import { simulate } from '../src/autoscale/simulate.ts';
import { parseTrace } from '../src/autoscale/trace.ts';
import { loadConfig } from '../src/config.ts';
import { StartError } from '../src/errors.ts';

const USAGE = `usage: npm run autoscale -- [options]
  --check              reads the rules and says whether they can be used
  --simulate <trace>   shows what the rules would do; docs/monitoring.md describes the trace
  --rules <file>       default: AUTOSCALE_FILE, autoscale.json where it is there, else autoscale.example.json
  --out <file>         where the SVG goes (default autoscale.svg)`;

/** As the service itself finds them, `.env` included. */
function rulesFile(given: string | undefined): string {
  return given ?? loadConfig().autoscaleFile ?? resolve(import.meta.dirname, '../autoscale.example.json');
}

function readTrace(file: string) {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new StartError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  return parseTrace(text, file);
}

function run(): void {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      simulate: { type: 'string' },
      rules: { type: 'string' },
      out: { type: 'string', default: 'autoscale.svg' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help || (values.simulate === undefined && !values.check)) {
    console.log(USAGE);
    return;
  }
  const file = rulesFile(values.rules);
  const rules = readRules(file);
  console.log(`${file} can be used.`);
  if (values.simulate === undefined) return;
  const trace = readTrace(values.simulate);
  const steps = simulate(rules, trace);
  const time = new Intl.DateTimeFormat('sv-SE', { timeZone: rules.timezone, dateStyle: 'short', timeStyle: 'medium' });
  for (const [index, { at, workers, reason }] of steps.entries()) {
    const before = steps[index - 1]?.workers ?? trace.workers ?? 0;
    if (workers !== before) console.log(`${time.format(at)}  ${before} -> ${workers}  ${reason ?? ''}`);
  }
  const title = `${trace.kind} workers, ${time.format(Date.parse(trace.start))} (${rules.timezone})`;
  writeFileSync(values.out, plot(steps, title, rules.timezone));
  console.log(`Drawn to ${values.out}.`);
}

try {
  run();
} catch (error) {
  const isWrongOption = String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS');
  if (!(error instanceof StartError) && !isWrongOption) throw error;
  console.error((error as Error).message);
  process.exit(1);
}
