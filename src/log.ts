import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import { keepFreeOfOldLogs } from './logs/old-logs.ts';
import { openRotatingFile, type Rotation } from './logs/rotating-file.ts';

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

type SwitchableLog = {
  logger: Logger;
  /** Adds a file that gets every later line; a file that cannot be written is a warning. */
  addFile(path: string): void;
};

const ROTATION: Rotation = { rotateBytes: 10_485_760, keepFiles: 9, keepDays: 14 };

/** A root logger: JSON lines to standard output, from {@link SwitchableLog.addFile} on to a file as well. */
export function createLog(name: string, level: string, rotation: Rotation = ROTATION): SwitchableLog {
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
      try {
        multi.add({ stream: openRotatingFile(path, rotation, warn), level: 'trace' });
        keepFreeOfOldLogs(path, rotation.keepDays, (error) =>
          logger.warn({ err: error }, 'old log files could not be removed'),
        );
      } catch (error) {
        warn(error);
      }
    },
  };
}
