import { z } from 'zod';

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type Level = (typeof LEVELS)[number];

const Line = z.looseObject({
  level: z.enum(LEVELS),
  time: z.iso.datetime(),
  msg: z.string().optional(),
});
type Line = z.infer<typeof Line>;

export type LogEntry = {
  worker: string;
  /** In ms since 1970; a line that is none of ours has that of the one before it. */
  time: number;
  /** As it stands in the file. */
  text: string;
  /** Undefined for a line that is none of ours. */
  line: Line | undefined;
};

export type LogFilter = { task: string | undefined; level: Level | undefined; since: number | undefined };

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads one line of a log file; undefined where it is empty. */
export function parseEntry(text: string, worker: string, timeBefore: number): LogEntry | undefined {
  if (text.trim() === '') return undefined;
  const line = Line.safeParse(parseJson(text)).data;
  return { worker, text, line, time: line === undefined ? timeBefore : Date.parse(line.time) };
}

/** Whether an entry is asked for; a task is meant where its id, or that of its request, is among the values. */
export function matches(entry: LogEntry, { task, level, since }: LogFilter): boolean {
  if (since !== undefined && entry.time < since) return false;
  if (entry.line === undefined) return task === undefined && level === undefined;
  if (level !== undefined && LEVELS.indexOf(entry.line.level) < LEVELS.indexOf(level)) return false;
  return task === undefined || entry.line.taskId === task || entry.line.requestId === task;
}

const COLOURS: Record<Level, number> = { trace: 90, debug: 36, info: 32, warn: 33, error: 31, fatal: 35 };

/** Fields that every line has, or that stand elsewhere in the text. */
const COMMON = new Set(['level', 'time', 'msg', 'name', 'pid', 'worker', 'queue', 'err']);

/** One value in a line; control characters of what came from outside must not reach the terminal. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\w.:/+-]+$/.test(text) ? text : typeof value === 'string' ? JSON.stringify(text) : text;
}

const printable = (text: string) => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');

/** Stack and causes of a logged error, indented. */
function errorLines(error: unknown): string[] {
  if (typeof error !== 'object' || error === null) return [];
  const { stack, message } = error as { stack?: unknown; message?: unknown };
  const text = typeof stack === 'string' ? stack : typeof message === 'string' ? message : JSON.stringify(error);
  return text.split('\n').map((line) => `    ${printable(line)}`);
}

/** An entry for people: time, level, worker, message, values; a stack below it. */
export function formatEntry(entry: LogEntry, colours: boolean): string {
  const paint = (code: number, text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
  const { line } = entry;
  if (line === undefined) return `${paint(90, entry.worker)}  ${printable(entry.text)}`;
  const values = Object.entries(line)
    .filter(([name]) => !COMMON.has(name))
    .map(([name, value]) => `${paint(90, `${printable(name)}=`)}${printable(shown(value))}`);
  const head = [
    paint(90, line.time.replace('T', ' ').replace('Z', '')),
    paint(COLOURS[line.level], line.level.toUpperCase().padEnd(5)),
    entry.worker,
    printable(line.msg ?? ''),
    ...values,
  ].join('  ');
  return [head, ...errorLines(line.err)].join('\n');
}
