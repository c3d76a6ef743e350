import type { z } from 'zod';
import { AppError } from '../errors.ts';

function problems(error: z.ZodError): { option: string; message: string }[] {
  return error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ option: key, message: 'is not known here' }))
      : [{ option: issue.path.join('.'), message: issue.message }],
  );
}

/**
 * What the client sent, as the schema reads it.
 *
 * @throws AppError INVALID_OPTION that names what is wrong
 */
export function parseRequest<T extends z.ZodType>(schema: T, given: unknown): z.output<T> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const details = problems(parsed.error);
  const [first] = details;
  const what = first === undefined || first.option === '' ? 'The body' : `Option ${first.option.slice(0, 60)}`;
  throw new AppError('INVALID_OPTION', `${what} ${first?.message ?? 'is not understood'}.`, { details });
}
