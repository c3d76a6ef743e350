/** sysexits' EX_CONFIG: what a process ends with when a setting or a circumstance keeps it from starting; it is not restarted. */
export const EXIT_WRONG_SETTING = 78;

/** sysexits' EX_TEMPFAIL: an operator wants the process started anew; whatever restarts failed processes does so, too. */
export const EXIT_RESTART = 75;

/** Tells the supervisor, where there is one, that this process does its work from now on. */
export function reportReady(url?: string): void {
  // The callback takes the error of a supervisor that has just gone: `whenSupervisorGone` deals with that.
  process.send?.({ ready: true, ...(url === undefined ? {} : { url }) }, undefined, undefined, () => {});
}

/** The address in a message of {@link reportReady}; undefined when `message` is none. */
export function readReady(message: unknown): { url: string | undefined } | undefined {
  if (typeof message !== 'object' || message === null || !('ready' in message) || message.ready !== true)
    return undefined;
  return { url: 'url' in message && typeof message.url === 'string' ? message.url : undefined };
}

/**
 * Calls `stop` when the supervisor of this process ends, however it does; never where there is none. Does not keep the
 * process alive.
 */
export function whenSupervisorGone(stop: () => void): void {
  if (process.send === undefined) return;
  if (!process.connected) {
    stop();
    return;
  }
  process.once('disconnect', stop);
  process.channel?.unref();
}
