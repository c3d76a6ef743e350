const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One Ctrl-C arrives twice, from the terminal and passed on by npm: a second one only counts after so long. */
const ECHO_MS = 1000;

/** `stop` is aborted by the first SIGINT, SIGTERM or SIGHUP, `force` by another one more than a second later. */
export function listenForStop(): { stop: AbortSignal; force: AbortSignal; dispose(): void } {
  const stop = new AbortController();
  const force = new AbortController();
  let firstAt = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (!stop.signal.aborted) {
      firstAt = performance.now();
      stop.abort(signal);
    } else if (performance.now() - firstAt > ECHO_MS) {
      force.abort(signal);
    }
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    stop: stop.signal,
    force: force.signal,
    dispose() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}
