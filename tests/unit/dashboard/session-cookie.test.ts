import type { Request, Response } from 'express';
import { expect, test } from 'vitest';
import type { Account } from '../../../src/dashboard/accounts.ts';
import { unmatchableHash } from '../../../src/dashboard/password.ts';
import { createSessions, type Sessions } from '../../../src/dashboard/session-cookie.ts';

const HOUR_MS = 3_600_000;

const account = (): Account => ({ name: 'ädä, "x"; y=1', role: 'admin', hash: unmatchableHash() });

/** The pair that a browser would send back. */
function started(sessions: Sessions, who: Account, secure = false): { pair: string; options: object } {
  let [pair, options] = ['', {}];
  const response = {
    cookie(name: string, value: string, given: object) {
      [pair, options] = [`${name}=${encodeURIComponent(value)}`, given];
    },
  };
  sessions.start({ secure } as Request, response as unknown as Response, who);
  return { pair, options };
}

const read = (sessions: Sessions, cookie: string) => sessions.read({ get: () => cookie } as unknown as Request);

test('a session names its account, is renewed in its second half and ends', () => {
  const ada = account();
  let time = 1_000_000;
  const sessions = createSessions([ada], () => time);
  const { pair } = started(sessions, ada);
  expect(pair).toMatch(/^recognize_session=[\w.-]+$/);
  expect(read(sessions, `a=b; ${pair}`)).toEqual({ account: ada, isOld: false });
  time += 6 * HOUR_MS + 1;
  expect(read(sessions, pair)).toEqual({ account: ada, isOld: true });
  time += 6 * HOUR_MS;
  expect(read(sessions, pair)).toBeUndefined();
});

test('it ends with its account, with another password, and with another role', () => {
  const ada = account();
  const accounts = [ada];
  const sessions = createSessions(accounts);
  const { pair } = started(sessions, ada);
  expect(read(sessions, pair)?.account).toBe(ada);
  const { hash, role } = ada;
  ada.hash = unmatchableHash();
  expect(read(sessions, pair)).toBeUndefined();
  Object.assign(ada, { hash, role: 'viewer' });
  expect(read(sessions, pair)).toBeUndefined();
  Object.assign(ada, { hash, role });
  expect(read(sessions, pair)?.account).toBe(ada);
  expect(read(createSessions([]), pair)).toBeUndefined();
  expect(read(createSessions([ada]), pair)).toBeUndefined();
});

test('over TLS it goes over TLS only', () => {
  const ada = account();
  const sessions = createSessions([ada]);
  expect(started(sessions, ada, true).options).toMatchObject({ secure: true, httpOnly: true, sameSite: 'strict' });
  expect(started(sessions, ada).options).toMatchObject({ secure: false });
});
