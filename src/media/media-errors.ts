import { access, constants } from 'node:fs/promises';
import { AppError, TransientError } from '../errors.ts';

/** Bounds of reading one picture. */
export type ImageLimits = {
  /** Width x height that is still read. */
  pixels: number;
  /** Time for decoding; a minute when unset. */
  timeoutMs?: number | undefined;
  /** Ends a running ffmpeg; sharp cannot be interrupted and goes on to its time limit. */
  signal?: AbortSignal | undefined;
};

/** How long decoding may take where nobody says. */
export const DEFAULT_TIMEOUT_MS = 60_000;

/** The time limit as sharp takes it: whole seconds, an hour at most. */
export function timeoutSeconds({ timeoutMs = DEFAULT_TIMEOUT_MS }: ImageLimits): number {
  return Math.min(3600, Math.max(1, Math.ceil(timeoutMs / 1000)));
}

/** @param message for the client, without a path */
export function unreadable(message: string, cause?: unknown): AppError {
  return new AppError('UNREADABLE_MEDIA', message, { cause });
}

/** UNREADABLE_MEDIA with both numbers. */
export function tooManyPixels(size: { width: number; height: number }, limit: number): AppError {
  return unreadable(
    `The picture is too large: ${size.width} x ${size.height} pixels, while this server reads at most ${limit} pixels.`,
  );
}

/** Whether this process can read the file. */
export async function isReachable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Faults of disk or memory as libvips words them: an errno, or its own allocation failing. */
const FAULT_OF_SURROUNDINGS = /unix error|system error|out of memory/i;

/**
 * What went wrong when libvips or ffmpeg gave up on a picture: a fault of storage or memory is a TransientError, a
 * decoder out of time AppError TIMEOUT, all else the file's own fault, AppError UNREADABLE_MEDIA. After an abort it is
 * the signal's reason.
 */
export async function explainReadError(error: unknown, path: string, signal?: AbortSignal): Promise<Error> {
  if (signal?.aborted && signal.reason instanceof Error) return signal.reason;
  if (error instanceof AppError || error instanceof TransientError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (/^timeout:/.test(reason)) return new AppError('TIMEOUT', 'Reading the picture took too long.', { cause: error });
  if (FAULT_OF_SURROUNDINGS.test(reason) || !(await isReachable(path))) {
    return new TransientError('The picture cannot be read from storage.', { cause: error });
  }
  if (/exceeds pixel limit/.test(reason)) {
    return unreadable('The picture has more pixels than this server reads.', error);
  }
  return unreadable('The picture is damaged or incomplete.', error);
}
