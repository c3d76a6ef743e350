import { mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';

export type Logger = PinoLogger;

const SECRET_PATHS = [
  'req.headers.authorization',
  'req.headers["x-api-key"]',
  'req.headers.cookie',
  'headers.authorization',
  'headers["x-api-key"]',
  'password',
  'token',
  'apiKey',
  '*.password',
];

/** Replaces the password of a connection URL. */
export function withoutPassword(url: string): string {
  return url.replace(/(:\/\/[^:@/]*):[^@/]*@/, '$1:***@');
}

type SwitchableLog = {
  logger: Logger;
  /** Adds a file that gets every later line; a file that cannot be written is a warning. */
  addFile(path: string): void;
  flush(): void;
};

/** A root logger: JSON lines to standard output, from {@link SwitchableLog.addFile} on to a file as well. */
export function createLog(name: string, level: string): SwitchableLog {
  const streams: { stream: DestinationStream; level: 'trace' }[] = [
    { stream: pino.destination({ dest: 1, sync: true }), level: 'trace' },
  ];
  const multi = pino.multistream(streams);
  const logger = pino(
    {
      level,
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_PATHS, censor: '***' },
    },
    multi,
  );
  return {
    logger,
    addFile(path) {
      const warn = (error: unknown) =>
        logger.warn({ err: error }, 'the log file cannot be written; standard output goes on');
      let descriptor: number;
      try {
        mkdirSync(dirname(path), { recursive: true });
        descriptor = openSync(path, 'a');
      } catch (error) {
        warn(error);
        return;
      }
      const file = pino.destination({ dest: descriptor, sync: false });
      file.once('error', warn);
      file.on('error', () => undefined);
      multi.add({ stream: file, level: 'trace' });
    },
    flush() {
      multi.flushSync();
    },
  };
}
