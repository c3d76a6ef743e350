import type { Redis } from 'ioredis';
import type { Logger } from '../log.ts';
import type { Keyring } from '../sealing/keyring.ts';
import { KEYS } from './keys.ts';

type KeyRecord = { at: number; fingerprint: string };

/** A process with a wrong key must not make those with the right one look wrong. */
const RECORD_SCRIPT = `
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored or cjson.decode(stored).fingerprint == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end`;

/** Writes down that the current key is in use, unless another one of its id is on record. */
export async function recordKey(redis: Redis, keyring: Keyring): Promise<void> {
  const { current } = keyring;
  if (current === undefined) return;
  const fingerprint = keyring.fingerprint(current);
  const record: KeyRecord = { at: Date.now(), fingerprint };
  await redis.eval(RECORD_SCRIPT, 1, KEYS.encryptionKeys(), current.id, fingerprint, JSON.stringify(record));
}

/**
 * Compares the keys of this process with those that wrote what is still kept, and says in the log which it lacks.
 *
 * @param keptSeconds how long results and files are kept
 */
export async function checkKeys(redis: Redis, keyring: Keyring, keptSeconds: number, log: Logger): Promise<void> {
  const records = Object.entries(await redis.hgetall(KEYS.encryptionKeys()));
  for (const [id, text] of records) {
    const { at, fingerprint } = JSON.parse(text) as KeyRecord;
    if (at + keptSeconds * 1000 < Date.now()) await redis.hdel(KEYS.encryptionKeys(), id);
    else if (!keyring.ids.includes(id)) {
      log.error(
        { keyId: id },
        `results and files are encrypted with the key "${id}", which RESULT_ENCRYPTION_KEY lacks`,
      );
    } else if (keyring.fingerprint(keyring.find(id)) !== fingerprint) {
      log.error({ keyId: id }, `the key "${id}" of RESULT_ENCRYPTION_KEY is another one than that of other processes`);
    }
  }
  await recordKey(redis, keyring);
}
