/** `up` is null where nothing is stored that could be looked at from here. */
export type StorageState = { up: boolean | null; reason?: string };

/** How long a look holds where nothing else is said, in ms: a good one and a bad one. */
const GOOD_FOR_MS = 10_000;
const BAD_FOR_MS = 2000;

/** Whoever asks gets an answer after so many ms, whatever the store does. */
const PATIENCE_MS = 2000;

export type StorageWatch = {
  /**
   * How storage stands. Never rejects.
   *
   * @param maxAgeMs how old a look may be: at most ten seconds, and two where it found something wrong
   */
  state(maxAgeMs?: number): Promise<StorageState>;
};

const SILENT: StorageState = { up: false, reason: 'the storage for files does not answer' };

type Look = { startedAt: number; done: Promise<void>; state: StorageState | undefined };

/**
 * Looks at storage when somebody asks, but not for each who asks, and not again while a look is under way: a store that
 * hangs is met by one request at a time.
 *
 * @param look resolves with whether there is a storage to be seen from here, rejects where it does not work
 */
export function watchStorage(look: () => Promise<boolean>): StorageWatch {
  let last: { at: number; state: StorageState } | undefined;
  let current: Look | undefined;

  function begin(): Look {
    const begun: Look = { startedAt: performance.now(), done: Promise.resolve(), state: undefined };
    begun.done = look().then(
      (isThere) => settle(begun, isThere ? { up: true } : { up: null, reason: 'it is not seen from here' }),
      () => settle(begun, { up: false, reason: 'the storage for files cannot be used' }),
    );
    return begun;
  }

  function settle(of: Look, state: StorageState): void {
    of.state = state;
    last = { at: performance.now(), state };
    current = undefined;
  }

  return {
    async state(maxAgeMs = GOOD_FOR_MS) {
      const age = performance.now() - (last?.at ?? Number.NEGATIVE_INFINITY);
      if (last !== undefined && age < Math.min(maxAgeMs, last.state.up === false ? BAD_FOR_MS : GOOD_FOR_MS))
        return last.state;
      current ??= begin();
      const asked = current;
      const left = asked.startedAt + PATIENCE_MS - performance.now();
      if (left > 0) {
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, left);
        });
        await Promise.race([asked.done, late]);
        clearTimeout(timer);
      }
      return asked.state ?? SILENT;
    },
  };
}
