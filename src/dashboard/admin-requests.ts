import type { z } from 'zod';
import { AppError } from '../errors.ts';

type Issues = z.ZodError['issues'];

const isOfAnotherForm = (issues: Issues) =>
  issues.some(({ code, path }) => path.length === 0 && code === 'unrecognized_keys');

/** Where a body may have one of several forms: what is wrong with the only one that it can be meant to have. */
function meant(forms: readonly Issues[]): Issues | undefined {
  const [only, ...others] = forms.filter((issues) => !isOfAnotherForm(issues));
  return others.length === 0 ? only : undefined;
}

function problems(issues: Issues): { option: string; message: string }[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({ option: key, message: 'is not known here' }));
    const inside = issue.code === 'invalid_union' ? meant(issue.errors) : undefined;
    return inside === undefined ? [{ option: issue.path.join('.'), message: issue.message }] : problems(inside);
  });
}

/**
 * What the client sent, as the schema reads it.
 *
 * @throws AppError INVALID_OPTION that names what is wrong
 */
export function parseRequest<T extends z.ZodType>(schema: T, given: unknown): z.output<T> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const details = problems(parsed.error.issues);
  const [first] = details;
  const what = first === undefined || first.option === '' ? 'The body' : `Option ${first.option.slice(0, 60)}`;
  throw new AppError('INVALID_OPTION', `${what} ${first?.message ?? 'is not understood'}.`, { details });
}
