import { execFileSync } from 'node:child_process';
import { scryptSync } from 'node:crypto';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { hashPassword, parsePasswordHash, unmatchableHash, verifyPassword } from '../../../src/dashboard/password.ts';

/** Made with Python's hashlib.scrypt(b'correct horse', salt=b'0123456789abcdef', n=1024, r=8, p=1, dklen=32). */
const FROM_PYTHON = 'scrypt$1024$8$1$MDEyMzQ1Njc4OWFiY2RlZg$6g3umF-uVrJsObaTZhIbbTlgrvOEFcCItdwSjtPF67M';

function parsed(text: string) {
  const hash = parsePasswordHash(text);
  if (hash === undefined) throw new Error(`not accepted: ${text}`);
  return hash;
}

test('a hash made elsewhere is understood', async () => {
  const hash = parsed(FROM_PYTHON);
  expect(await verifyPassword('correct horse', hash)).toBe(true);
  expect(await verifyPassword('correct horse ', hash)).toBe(false);
  expect(await verifyPassword('', hash)).toBe(false);
});

test('a hash is salted, fits into a list and is scrypt of the password', async () => {
  const [first, second] = [await hashPassword('pässword'), await hashPassword('pässword')];
  expect(first).not.toBe(second);
  expect(first).not.toMatch(/[,:\s]/);
  const [name, n, r, p, salt = '', hash = ''] = first.split('$');
  expect([name, n, r, p]).toEqual(['scrypt', '32768', '8', '3']);
  const options = { N: 32768, r: 8, p: 3, maxmem: 64 * 2 ** 20 };
  expect(scryptSync('pässword', Buffer.from(salt, 'base64url'), 32, options).toString('base64url')).toBe(hash);
});

test('composed and decomposed letters are the same password', async () => {
  expect(await verifyPassword('pa\u0308ss', parsed(await hashPassword('p\u00e4ss')))).toBe(true);
});

test('no password matches the stand-in for unknown names', async () => {
  expect(await verifyPassword('', unmatchableHash())).toBe(false);
});

test('the stand-in costs as much as the hash that it stands beside', async () => {
  const like = parsed(FROM_PYTHON);
  const standIn = unmatchableHash(like);
  expect(standIn).toMatchObject({ cost: 1024, blockSize: 8, parallelization: 1 });
  expect(standIn.hash).toHaveLength(like.hash.length);
  expect(await verifyPassword('correct horse', standIn)).toBe(false);
});

test.each([
  ['plain text', 'geheim'],
  ['another scheme', '$2b$10$abcdefghijklmnopqrstuv'],
  ['a cost that is no power of two', FROM_PYTHON.replace('1024', '1000')],
  ['more memory than is allowed', FROM_PYTHON.replace('1024', '4194304')],
  ['no block size', FROM_PYTHON.replace('$8$', '$0$')],
  ['a short hash', 'scrypt$1024$8$1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMw'],
  ['text behind it', `${FROM_PYTHON} `],
])('%s is refused', (_what, text) => {
  expect(parsePasswordHash(text)).toBeUndefined();
});

test('the command prints a usable hash of what it reads', async () => {
  const output = execFileSync(process.execPath, [resolve('scripts/hash-password.ts')], { input: 'from stdin\n' });
  const lines = output.toString().trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  expect(await verifyPassword('from stdin', parsed(lines[0] ?? ''))).toBe(true);
});
