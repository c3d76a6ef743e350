import process from 'node:process';
import { canStart } from '../can-start.ts';

const COMMAND = 'chrt';
const ARGS = ['--batch', '0'];

/**
 * What goes before a command line so that the program's threads interrupt nobody when they wake (SCHED_BATCH, `man 7
 * sched`). Decoding wakes a thread for every strip of a picture, mostly while another is at work on the same core.
 * Empty where the system cannot do that.
 */
export const BATCH: readonly string[] =
  process.platform === 'linux' && (await canStart(COMMAND, [...ARGS, 'true'])) ? [COMMAND, ...ARGS] : [];
