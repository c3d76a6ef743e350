import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/errors.ts';
import { failureText, parseFailure, publicError } from '../../../src/queue/failure.ts';

describe('why a task failed', () => {
  it('survives the way through the queue', () => {
    const error = new AppError('UNREADABLE_MEDIA', 'The picture is damaged: half of it is missing.', {
      details: [{ line: 3 }, 'x\ny'],
    });
    expect(parseFailure(failureText(error))).toEqual({
      error_code: 'UNREADABLE_MEDIA',
      message: 'The picture is damaged: half of it is missing.',
      details: [{ line: 3 }, 'x\ny'],
    });
    expect(parseFailure(failureText(new AppError('TIMEOUT', 'Too slow.')))).toEqual({
      error_code: 'TIMEOUT',
      message: 'Too slow.',
    });
  });

  it('keeps its sentence where the details were cut off', () => {
    expect(parseFailure('TIMEOUT: Too slow.\n[{"a":')).toEqual({ error_code: 'TIMEOUT', message: 'Too slow.' });
  });

  it.each([
    '',
    'Error: ENOENT: no such file or directory, open /data/uploads/x',
    'SOMETHING_ELSE: /etc/passwd',
    'constructor: x',
    'TIMEOUT',
  ])('is INTERNAL without the text that nobody vouches for: %j', (reason) => {
    expect(parseFailure(reason)).toEqual({
      error_code: 'INTERNAL',
      message: 'The task failed for an unexpected reason.',
    });
  });
});

it('what a client may not see becomes INTERNAL and keeps its cause for the log', () => {
  const cause = new Error('connect ECONNREFUSED 10.0.0.7:6379');
  const shown = publicError(cause);
  expect(shown).toMatchObject({ code: 'INTERNAL', status: 500, cause });
  expect(shown.message).not.toMatch(/10\.0\.0\.7|ECONN/);
  const known = new AppError('NO_FILE', 'Send a file.');
  expect(publicError(known)).toBe(known);
});
