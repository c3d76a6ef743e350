/** So many wrong passwords lock an address; those before are free. */
const LOCK_FROM_FAILURE = 5;
const FIRST_LOCK_MS = 30_000;
const LONGEST_LOCK_MS = 15 * 60_000;
/** An address that has been quiet for so long starts anew. */
const FORGET_AFTER_MS = 60 * 60_000;
const MAX_ADDRESSES = 10_000;

type Failures = { count: number; last: number; lockedUntil: number };

export type LoginAttempts = {
  /** How long nobody from this address may try, 0 where they may. */
  lockedForMs(address: string): number;
  /** Notes a wrong password. @returns how long the address is locked now */
  fail(address: string): number;
};

/** Locks an address out after repeated wrong passwords, each time twice as long. Kept in memory, oldest given up first. */
export function countLoginAttempts(now: () => number = Date.now): LoginAttempts {
  const known = new Map<string, Failures>();

  function find(address: string): Failures | undefined {
    const failures = known.get(address);
    if (failures === undefined || now() - failures.last <= FORGET_AFTER_MS) return failures;
    known.delete(address);
    return undefined;
  }

  return {
    lockedForMs: (address) => Math.max(0, (find(address)?.lockedUntil ?? 0) - now()),
    fail(address) {
      const count = (find(address)?.count ?? 0) + 1;
      const lockMs =
        count < LOCK_FROM_FAILURE ? 0 : Math.min(FIRST_LOCK_MS * 2 ** (count - LOCK_FROM_FAILURE), LONGEST_LOCK_MS);
      // Taken out first, so that the map stays in the order of the last failure.
      known.delete(address);
      known.set(address, { count, last: now(), lockedUntil: now() + lockMs });
      const oldest = known.keys().next();
      if (known.size > MAX_ADDRESSES && !oldest.done) known.delete(oldest.value);
      return lockMs;
    },
  };
}
