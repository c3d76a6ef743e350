import { z } from 'zod';
import { type AppError, ERROR_CODES, type ErrorCode } from '../errors.ts';

/** The wrapper of every successful JSON answer. */
export const success = <T extends z.ZodType>(data: T) =>
  z.object({ success: z.literal(true), message: z.string().optional(), timestamp: z.iso.datetime(), data });

/** The body of every JSON answer that is an error. */
export const ErrorEnvelope = z
  .object({
    success: z.literal(false),
    message: z.string(),
    error_code: z.enum(ERROR_CODES),
    timestamp: z.iso.datetime(),
    details: z.array(z.unknown()).optional(),
  })
  .meta({ id: 'Error' });
export type ErrorEnvelope = z.infer<typeof ErrorEnvelope>;

/** The body of a successful answer, made now. */
export function successEnvelope<T>(data: T, message?: string) {
  return {
    success: true as const,
    ...(message === undefined ? {} : { message }),
    timestamp: new Date().toISOString(),
    data,
  };
}

/** The body of an answer that is this error, made now. */
export function errorEnvelope(error: Pick<AppError, 'message' | 'details'> & { code: ErrorCode }): ErrorEnvelope {
  return {
    success: false,
    message: error.message,
    error_code: error.code,
    timestamp: new Date().toISOString(),
    ...(error.details === undefined ? {} : { details: error.details }),
  };
}
