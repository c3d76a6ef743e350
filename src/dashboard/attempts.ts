/** Wrong passwords that an address has for free. */
const FREE_FAILURES = 5;
const FIRST_LOCK_MS = 30_000;
const LONGEST_LOCK_MS = 15 * 60_000;
/** An address that has been quiet for so long starts anew. */
const FORGET_AFTER_MS = 60 * 60_000;
const MAX_ADDRESSES = 10_000;

type Failures = { count: number; last: number; lockedUntil: number };

export type Attempts = {
  /** How long nobody from this address may try, 0 where they may. */
  lockedForMs(address: string): number;
  /** Notes a wrong password. @returns how long the address is locked now */
  fail(address: string): number;
};

/** An IPv6 network of a single customer counts as one address. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%')[0]?.toLowerCase().split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':');
}

/** Locks an address out after repeated wrong passwords, each time twice as long. Kept in memory, oldest given up first. */
export function countAttempts(now: () => number = Date.now): Attempts {
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
        count < FREE_FAILURES ? 0 : Math.min(FIRST_LOCK_MS * 2 ** (count - FREE_FAILURES), LONGEST_LOCK_MS);
      // Taken out first, so that the map stays in the order of the last failure.
      known.delete(address);
      known.set(address, { count, last: now(), lockedUntil: now() + lockMs });
      const oldest = known.keys().next();
      if (known.size > MAX_ADDRESSES && !oldest.done) known.delete(oldest.value);
      return lockMs;
    },
  };
}
