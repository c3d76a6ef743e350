import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { KEYS } from './keys.ts';

type KeyRecord = { at: number; fingerprint: string };

/** Writes down that the current key is in use. */
export async function recordKey(redis: Redis, keyring: Keyring): Promise<void> {
  const { current } = keyring;
  if (current === undefined) return;
  const record: KeyRecord = { at: Date.now(), fingerprint: keyring.fingerprint(current) };
  await redis.hset(KEYS.encryptionKeys(), current.id, JSON.stringify(record));
}

/**
 * Compares the keys of this process with those that wrote what is still kept, and says in the log which it lacks.
 *
 * @param keptSeconds how long results and files are kept
 */
export async function checkKeys(redis: Redis, keyring: Keyring, keptSeconds: number, log: Logger): Promise<void> {
  const records = Object.entries(await redis.hgetall(KEYS.encryptionKeys()));
  let isOurs = true;
  for (const [id, text] of records) {
    const { at, fingerprint } = JSON.parse(text) as KeyRecord;
    if (at + keptSeconds * 1000 < Date.now()) await redis.hdel(KEYS.encryptionKeys(), id);
    else if (!keyring.ids.includes(id)) {
      log.error(
        { keyId: id },
        `results and files are encrypted with the key "${id}", which RESULT_ENCRYPTION_KEY lacks`,
      );
    } else if (keyring.fingerprint(keyring.find(id)) !== fingerprint) {
      isOurs &&= id !== keyring.current?.id;
      log.error({ keyId: id }, `the key "${id}" of RESULT_ENCRYPTION_KEY is another one than that of other processes`);
    }
  }
  if (isOurs) await recordKey(redis, keyring);
}
