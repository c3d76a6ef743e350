import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createKeyring, DAMAGED_SENTENCE, MISSING_KEY_SENTENCE, NO_KEYS } from '../../../src/sealing/keyring.ts';
import { isSealedText, openText, sealText } from '../../../src/sealing/values.ts';

const key = (id: string) => ({ id, secret: new Uint8Array(randomBytes(32)) });

describe('a sealed text', () => {
  const mine = key('k1');
  const keyring = createKeyring([mine]);

  it.each(['', 'x', 'ünïcode 🙂', '{"a":1}'.repeat(50_000)])('opens again (%#)', (text) => {
    const sealed = sealText(mine, text, 'here');
    expect(isSealedText(sealed)).toBe(true);
    expect(openText(keyring, sealed, 'here')).toBe(text);
  });

  it('shows the id of its key and nothing of what it says', () => {
    const sealed = sealText(mine, 'a person with a bicycle', 'here');
    expect(sealed).toMatch(/^sealed:1:k1:[A-Za-z0-9_-]+$/);
    expect(Buffer.from(sealed.split(':')[3] ?? '', 'base64url').toString('latin1')).not.toMatch(/person|bicycle/);
  });

  it('never looks the same twice', () => {
    const seen = new Set(Array.from({ length: 100 }, () => sealText(mine, 'the same', 'here')));
    expect(seen.size).toBe(100);
  });

  it('opens in its own place only', () => {
    const sealed = sealText(mine, 'text', 'result of task 1');
    expect(() => openText(keyring, sealed, 'result of task 2')).toThrow(DAMAGED_SENTENCE);
  });

  it('does not open when any of its characters is another', () => {
    const sealed = sealText(mine, 'text', 'here');
    const start = sealed.lastIndexOf(':') + 1;
    for (let at = start; at < sealed.length - 1; at++) {
      const other = sealed[at] === 'A' ? 'B' : 'A';
      expect(() => openText(keyring, sealed.slice(0, at) + other + sealed.slice(at + 1), 'here')).toThrow();
    }
    for (const cut of [
      sealed.slice(0, -4),
      sealed.slice(0, start + 20),
      `${sealed}AAAA`,
      'sealed:1:k1:',
      'sealed:2:k1:AAAA',
    ])
      expect(() => openText(keyring, cut, 'here')).toThrow(DAMAGED_SENTENCE);
  });

  it('names the missing key to the operator, not to the client', () => {
    const sealed = sealText(key('old'), 'text', 'here');
    for (const [ring, has] of [
      [keyring, 'has only k1'],
      [NO_KEYS, 'is not set'],
    ] as const) {
      expect(() => openText(ring, sealed, 'here')).toThrow(
        expect.objectContaining({
          code: 'INTERNAL',
          message: MISSING_KEY_SENTENCE,
          cause: expect.objectContaining({
            message: expect.stringContaining(`"old" is missing: RESULT_ENCRYPTION_KEY of this process ${has}`),
          }),
        }),
      );
    }
  });

  it('does not open with another key of the same id', () => {
    expect(() => openText(createKeyring([key('k1')]), sealText(mine, 'text', 'here'), 'here')).toThrow(
      DAMAGED_SENTENCE,
    );
  });

  it('opens with an older key that stands behind the current one', () => {
    const sealed = sealText(mine, 'text', 'here');
    const rotated = createKeyring([key('k2'), mine]);
    expect(rotated.current?.id).toBe('k2');
    expect(openText(rotated, sealed, 'here')).toBe('text');
  });
});

it('keys of one id are told apart by a fingerprint that tells nothing of them', () => {
  const [a, b] = [key('k'), key('k')];
  const ring = createKeyring([a]);
  expect(ring.fingerprint(a)).toBe(createKeyring([b, a]).fingerprint(a));
  expect(ring.fingerprint(a)).not.toBe(ring.fingerprint(b));
  expect(ring.fingerprint(a)).toMatch(/^[0-9a-f]{16}$/);
});
