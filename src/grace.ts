/*
 * What a process may take to stop over GRACE_PERIOD, in which what runs may finish. The order must stay:
 *
 *   HAND_BACK_MS + LAST_WORDS_MS + FAREWELL_MS   a worker gives back what it could not finish, and leaves
 *     < SUPERVISED_STOP_MS         `npm start` ends what has not stopped, and has to stop Redis after it
 *     < FORCED_EXIT_MS             a process gives up on itself; with the default of GRACE_PERIOD, 8 s, less than the
 *                                  10 s which container engines wait by default
 *     < CONTAINER_STOP_SECONDS     who stops containers waits; STOP_GRACE_PERIOD in Compose and
 *                                  terminationGracePeriodSeconds in Kubernetes leave as much
 *
 * A task whose detection process takes longer than that to die is safe all the same: its worker has signed off from it
 * before.
 */

/** To end detection processes, of which none is waited for any longer. */
export const HAND_BACK_MS = 300;

/** To write what tasks have come to. */
export const LAST_WORDS_MS = 500;

/** To leave the list of workers, where Redis answers. */
export const FAREWELL_MS = 300;

export const SUPERVISED_STOP_MS = 1300;

export const FORCED_EXIT_MS = 1900;

export const CONTAINER_STOP_SECONDS = 15;
