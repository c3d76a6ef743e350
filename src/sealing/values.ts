import { createCipheriv, createDecipheriv } from 'node:crypto';
import { damaged, deriveKey, type Keyring, newSalt, SALT_BYTES, type SealingKey } from './keyring.ts';

/*
 * A sealed text is `sealed:1:<key id>:<base64url of salt, ciphertext and tag>`, AES-256-GCM. Key and nonce are derived
 * anew for every text from a random salt.
 */
const PREFIX = 'sealed:1:';
const SEALED = /^sealed:1:([A-Za-z0-9_.-]{1,32}):([A-Za-z0-9_-]+)$/;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

function derive(key: SealingKey, salt: Uint8Array): { secret: Buffer; nonce: Buffer } {
  const material = deriveKey(key, salt, 'value', KEY_BYTES + NONCE_BYTES);
  return { secret: material.subarray(0, KEY_BYTES), nonce: material.subarray(KEY_BYTES) };
}

/** True for what {@link sealText} wrote. */
export function isSealedText(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** @param context what the text is and whose; it opens under the same one only */
export function sealText(key: SealingKey, text: string, context: string): string {
  const salt = newSalt();
  const { secret, nonce } = derive(key, salt);
  const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  const sealed = Buffer.concat([salt, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${PREFIX}${key.id}:${sealed.toString('base64url')}`;
}

/** @throws AppError INTERNAL where the key is missing, or where anything was changed or moved */
export function openText(keyring: Keyring, sealed: string, context: string): string {
  const match = SEALED.exec(sealed);
  if (match === null) throw damaged(`${context} is not what a sealed text looks like`);
  const key = keyring.find(match[1] ?? '');
  const bytes = Buffer.from(match[2] ?? '', 'base64url');
  if (bytes.length < SALT_BYTES + TAG_BYTES) throw damaged(`${context} was cut off`);
  const { secret, nonce } = derive(key, bytes.subarray(0, SALT_BYTES));
  const decipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(SALT_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  } catch (error) {
    throw damaged(`${context} cannot be opened with the key "${key.id}"`, error);
  }
}
