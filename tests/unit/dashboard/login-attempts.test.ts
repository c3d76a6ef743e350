import { expect, test } from 'vitest';
import { countLoginAttempts } from '../../../src/dashboard/login-attempts.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

function withClock() {
  let time = 1_000_000;
  const attempts = countLoginAttempts(() => time);
  return { attempts, pass: (ms: number) => (time += ms) };
}

test('four wrong passwords are free, the fifth locks for half a minute', () => {
  const { attempts, pass } = withClock();
  for (let i = 0; i < 4; i++) expect(attempts.fail('10.0.0.1')).toBe(0);
  expect(attempts.lockedForMs('10.0.0.1')).toBe(0);
  expect(attempts.fail('10.0.0.1')).toBe(30 * SECOND);
  expect(attempts.lockedForMs('10.0.0.1')).toBe(30 * SECOND);
  expect(attempts.lockedForMs('10.0.0.2')).toBe(0);
  pass(29 * SECOND);
  expect(attempts.lockedForMs('10.0.0.1')).toBe(SECOND);
  pass(SECOND);
  expect(attempts.lockedForMs('10.0.0.1')).toBe(0);
});

test('each further failure doubles the lock, up to a quarter of an hour', () => {
  const { attempts, pass } = withClock();
  const locks = Array.from({ length: 12 }, () => {
    const lock = attempts.fail('a');
    pass(lock);
    return lock / SECOND;
  });
  expect(locks).toEqual([0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]);
});

test('an address that stays quiet for an hour starts anew', () => {
  const { attempts, pass } = withClock();
  for (let i = 0; i < 5; i++) attempts.fail('a');
  pass(60 * MINUTE + 1);
  expect(attempts.fail('a')).toBe(0);
});

test('only so many addresses are kept, those with the latest failures', () => {
  const { attempts } = withClock();
  for (let i = 0; i < 5; i++) attempts.fail('early');
  for (let i = 0; i < 5; i++) attempts.fail('kept');
  for (let i = 0; i < 9_999; i++) attempts.fail(`filler-${i}`);
  expect(attempts.lockedForMs('early')).toBe(0);
  expect(attempts.lockedForMs('kept')).toBe(30 * SECOND);
});
