import { hkdfSync, randomBytes } from 'node:crypto';
import { AppError } from '../errors.ts';

/** A secret of 32 bytes and the name under which stored data says that it was encrypted with it. */
export type SealingKey = { id: string; secret: Uint8Array };

/** The keys of RESULT_ENCRYPTION_KEY: the first one encrypts, every one decrypts. */
export type Keyring = {
  /** Undefined where nothing is to be encrypted. */
  readonly current: SealingKey | undefined;
  readonly ids: readonly string[];
  /** @throws AppError INTERNAL where there is no such key; its cause names the key for the operator */
  find(id: string): SealingKey;
  /** A short value that differs where two processes have different secrets under one id; tells nothing of the secret. */
  fingerprint(key: SealingKey): string;
};

/** Length of what {@link newSalt} makes. */
export const SALT_BYTES = 32;

/** What a client reads where a key is missing. */
export const MISSING_KEY_SENTENCE = 'The data is encrypted with a key that this service does not have.';

/** What a client reads where authentication failed. */
export const DAMAGED_SENTENCE = 'The encrypted data cannot be decrypted: it is damaged, or its key is another one.';

/** @param hint for the operator's log */
export function damaged(hint: string, cause?: unknown): AppError {
  return new AppError('INTERNAL', DAMAGED_SENTENCE, { cause: new Error(hint, { cause }) });
}

/** Random bytes for one value or file, stored beside it. */
export function newSalt(): Buffer {
  return randomBytes(SALT_BYTES);
}

/**
 * A key for one purpose and one salt (HKDF-SHA256, RFC 5869), so that no two values or files share key and nonce.
 *
 * @param bytes how many to derive
 */
export function deriveKey(key: SealingKey, salt: Uint8Array, purpose: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', key.secret, salt, `recognize ${purpose}`, bytes));
}

/** @param keys the one that encrypts first; none: nothing is encrypted */
export function createKeyring(keys: readonly SealingKey[]): Keyring {
  const byId = new Map(keys.map((key) => [key.id, key]));
  const ids = [...byId.keys()];
  return {
    current: keys[0],
    ids,
    find(id) {
      const key = byId.get(id);
      if (key !== undefined) return key;
      const has = ids.length === 0 ? 'is not set' : `has only ${ids.join(', ')}`;
      throw new AppError('INTERNAL', MISSING_KEY_SENTENCE, {
        cause: new Error(`the key "${id}" is missing: RESULT_ENCRYPTION_KEY of this process ${has}`),
      });
    },
    fingerprint: (key) => deriveKey(key, new Uint8Array(0), 'fingerprint', 8).toString('hex'),
  };
}

/** Nothing is encrypted, nothing encrypted can be read. */
export const NO_KEYS = createKeyring([]);
