import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';

/** A parsed `scrypt$N$r$p$salt$hash`. */
export type PasswordHash = { cost: number; blockSize: number; parallelization: number; salt: Buffer; hash: Buffer };

/** 32 MB and about a tenth of a second for each guess, as OWASP's password storage cheat sheet advises for scrypt. */
const COST = { cost: 2 ** 15, blockSize: 8, parallelization: 3 };
const HASH_BYTES = 32;

/** A hash from outside may not ask for more memory than this. */
const MEMORY_LIMIT_BYTES = 256 * 2 ** 20;

const FORMAT = /^scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([\w-]{8,128})\$([\w-]{22,128})$/;

function derive(password: string, { cost, blockSize, parallelization, salt, hash }: PasswordHash): Promise<Buffer> {
  const options: ScryptOptions = { cost, blockSize, parallelization, maxmem: MEMORY_LIMIT_BYTES + 2 ** 20 };
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, hash.length, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

/** Undefined for a text that is not `scrypt$N$r$p$salt$hash` (salt and hash in base64url) within our limits. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const [, n, r, p, salt, hash] = FORMAT.exec(text) ?? [];
  if (salt === undefined || hash === undefined) return undefined;
  const [cost, blockSize, parallelization] = [Number(n), Number(r), Number(p)];
  const powerOfTwo = cost > 1 && Number.isInteger(Math.log2(cost));
  const memory = 128 * blockSize * (cost + parallelization);
  if (!powerOfTwo || blockSize < 1 || parallelization < 1 || memory > MEMORY_LIMIT_BYTES) return undefined;
  return {
    cost,
    blockSize,
    parallelization,
    salt: Buffer.from(salt, 'base64url'),
    hash: Buffer.from(hash, 'base64url'),
  };
}

/** Hashes with a new salt, as `scrypt$N$r$p$salt$hash`: no comma and no colon, so that it fits into a list. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, { ...COST, salt, hash: Buffer.alloc(HASH_BYTES) });
  const { cost, blockSize, parallelization } = COST;
  return ['scrypt', cost, blockSize, parallelization, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

/** A hash that no password has: checking against it takes as long as against `like`, or one that was made here. */
export function unmatchableHash(like?: PasswordHash): PasswordHash {
  const { cost, blockSize, parallelization } = like ?? COST;
  const hash = randomBytes(like?.hash.length ?? HASH_BYTES);
  return { cost, blockSize, parallelization, salt: randomBytes(like?.salt.length ?? 16), hash };
}

export async function verifyPassword(password: string, expected: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, expected), expected.hash);
}
