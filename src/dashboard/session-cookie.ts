import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Account } from './accounts.ts';

const NAME = 'recognize_session';

/** A browser that is used goes on for ever, one that is not for so long. */
const LIFE_MS = 12 * 3_600_000;

const FORMAT = /^([\w-]{1,400})\.(\d{1,15})\.([\w-]{43})$/;

export type Sessions = {
  /** The account that has logged in from this browser; `isOld` where the cookie is to be made anew. */
  read(request: Request): { account: Account; isOld: boolean } | undefined;
  /** Has the browser remember that this account has logged in. */
  start(request: Request, response: Response, account: Account): void;
};

function cookieOf(header: string | undefined): string | undefined {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${NAME}=`))?.slice(NAME.length + 1);
}

/**
 * Logins that browsers remember in a cookie which nobody else can make. Its secret lives as long as this process, and
 * an account's role and hash are part of what is signed: none outlives a change of either.
 */
export function createSessions(accounts: readonly Account[], now: () => number = Date.now): Sessions {
  const secret = randomBytes(32);
  const byName = new Map(accounts.map((account) => [account.name, account]));

  function sign({ name, role, hash }: Account, expires: number): Buffer {
    const parts = [name, role, expires, hash.salt.toString('base64'), hash.hash.toString('base64')];
    return createHmac('sha256', secret).update(JSON.stringify(parts)).digest();
  }

  return {
    read(request) {
      const [, name = '', until = '', signature = ''] = FORMAT.exec(cookieOf(request.get('cookie')) ?? '') ?? [];
      const account = byName.get(Buffer.from(name, 'base64url').toString('utf8'));
      const expires = Number(until);
      if (account === undefined || expires <= now()) return undefined;
      if (!timingSafeEqual(sign(account, expires), Buffer.from(signature, 'base64url'))) return undefined;
      return { account, isOld: expires - now() < LIFE_MS / 2 };
    },
    start(request, response, account) {
      const expires = now() + LIFE_MS;
      const name = Buffer.from(account.name, 'utf8').toString('base64url');
      const value = `${name}.${expires}.${sign(account, expires).toString('base64url')}`;
      response.cookie(NAME, value, { httpOnly: true, sameSite: 'strict', secure: request.secure, path: '/' });
    },
  };
}
