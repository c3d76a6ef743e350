/** `npm run logs`: the log files of all workers in one, for people. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { StartError } from '../src/errors.ts';
import { followLogs } from '../src/logs/follow-logs.ts';
import { formatEntry, LEVELS, type Level, type LogEntry, matches } from '../src/logs/log-entry.ts';
import { findLogs, readLogs } from '../src/logs/log-files.ts';

const USAGE = `usage: npm run logs -- [options]
  --task <id>        only lines about this task, or about the request with this id
  --level <level>    only this level and worse: ${LEVELS.join(', ')}
  --worker <name>    only this worker, e.g. face_worker_1
  --since <age>      only the last 30s, 15m, 2h or 7d
  --lines <n>        the last n lines (default 200; all with --task or --since)
  --follow, -f       goes on as lines are written
  --json             lines as they stand in the files
  --folder <path>    another folder than LOG_DIR`;

/** A line may be written so much later than its time says, in ms. */
const CLOCK_MS = 10_000;

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        task: { type: 'string' },
        level: { type: 'string' },
        worker: { type: 'string' },
        since: { type: 'string' },
        lines: { type: 'string' },
        follow: { type: 'boolean', short: 'f', default: false },
        json: { type: 'boolean', default: false },
        folder: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    return fail(`${(error as Error).message}\n${USAGE}`);
  }
}

function readAge(age: string | undefined): number | undefined {
  if (age === undefined) return undefined;
  const [, count, unit = ''] = /^(\d+)([smhd])$/.exec(age) ?? [];
  if (count === undefined) return fail('--since takes an age such as 30s, 15m, 2h or 7d.');
  return Date.now() - Number(count) * UNITS[unit as keyof typeof UNITS] * 1000;
}

function readLevel(level: string | undefined): Level | undefined {
  if (level === undefined) return undefined;
  return LEVELS.find((name) => name === level) ?? fail(`--level takes one of ${LEVELS.join(', ')}.`);
}

function logFolder(): string {
  try {
    return loadConfig().paths.logs;
  } catch (error) {
    if (error instanceof StartError) return fail(error.message);
    throw error;
  }
}

const options = readOptions();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const filter = { task: options.task, level: readLevel(options.level), since: readAge(options.since) };
if (options.lines !== undefined && !/^\d+$/.test(options.lines)) fail('--lines takes a number.');
const unlimited = options.task !== undefined || options.since !== undefined;
const last = options.lines === undefined ? (unlimited ? Number.POSITIVE_INFINITY : 200) : Number(options.lines);
const folder = options.folder ?? logFolder();
if (!existsSync(folder)) fail(`There is no folder ${folder}. Set LOG_DIR or --folder.`);

// Somebody who has seen enough (`| head`) ends it.
process.stdout.on('error', () => process.exit(0));
const colours = process.stdout.isTTY === true && !process.env.NO_COLOR;
const print = (entry: LogEntry) => process.stdout.write(`${options.json ? entry.text : formatEntry(entry, colours)}\n`);

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
// Opened first: what is written while the past is read is not missed.
const followedSince = Date.now() - CLOCK_MS;
const readAlready = new Set<string>();
const following = options.follow ? followLogs(folder, options.worker, stop.signal) : undefined;
const next = following?.next();

const logs = await findLogs(folder, options.worker);
if (logs.length === 0 && !options.follow) {
  fail(
    options.worker === undefined ? `No worker has written to ${folder} yet.` : `There is no log of ${options.worker}.`,
  );
}
let kept: LogEntry[] = [];
for await (const entry of readLogs(logs)) {
  if (stop.signal.aborted) break;
  if (following !== undefined && entry.time >= followedSince) readAlready.add(entry.text);
  if (!matches(entry, filter)) continue;
  if (last === Number.POSITIVE_INFINITY) print(entry);
  else {
    kept.push(entry);
    if (kept.length >= 2 * last + 1000) kept = kept.slice(-last);
  }
}
if (last > 0) for (const entry of kept.slice(-last)) print(entry);

if (following !== undefined && next !== undefined) {
  const printNew = (entry: LogEntry) => {
    if (!readAlready.delete(entry.text) && matches(entry, filter)) print(entry);
  };
  const first = await next;
  if (!first.done) printNew(first.value);
  for await (const entry of following) printNew(entry);
}
