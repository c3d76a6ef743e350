import { WINDOWS } from '../contract/admin-requests.ts';
import { KIND_NAMES, QUEUE_NAMES } from '../contract/kinds.ts';
import { isFinished, TASK_ERROR_CODES, TASK_STATES } from '../contract/task.ts';

/** What the contract lists and pages offer for choice; each page carries it. */
export const PAGE_VALUES = {
  states: TASK_STATES,
  finishedStates: TASK_STATES.filter(isFinished),
  queues: QUEUE_NAMES,
  errorCodes: TASK_ERROR_CODES,
  windows: Object.keys(WINDOWS),
  exampleWorker: `${KIND_NAMES[0]}_worker_1`,
};

export type PageValues = typeof PAGE_VALUES;
