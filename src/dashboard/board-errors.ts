import { ErrorCode } from 'bullmq';
import type { Redis } from 'ioredis';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { FailedCall } from './board.ts';
import { errorBody } from './error-pages.ts';
import { isOutage, unavailable } from './outage.ts';
import { publicReason } from './presentation.ts';

const answer = (status: number, error: AppError): FailedCall => ({ status, body: errorBody(error) });

/** What BullMQ says by a number: the job is gone, or no longer where the page saw it. */
function answerMoved(code: number): FailedCall {
  if (code === ErrorCode.JobNotExist)
    return answer(404, new AppError('TASK_NOT_FOUND', 'There is no such task (any more).'));
  const message = 'The task is not, or no longer, in a state in which that can be done. Look at it again.';
  return answer(409, new AppError('TASK_FINISHED', message));
}

/** What a call of Bull Board's page gets when BullMQ, the connection or the reading of its body throws. */
export function answerFailedCall(error: Error, redis: Redis, log: Logger): FailedCall {
  if (isOutage(error, redis)) return answer(unavailable().status, unavailable());
  const { code, status } = error as { code?: unknown; status?: unknown };
  if (typeof code === 'number' && code < 0) return answerMoved(code);
  if (typeof status === 'number' && status >= 400 && status < 500)
    return answer(400, new AppError('BAD_REQUEST', 'The request cannot be understood.'));
  log.warn({ err: error }, 'dashboard: a call of the page failed');
  return answer(500, new AppError('INTERNAL', publicReason(error.message)));
}
