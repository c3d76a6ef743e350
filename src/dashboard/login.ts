import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import pLimit from 'p-limit';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Account, Role } from './accounts.ts';
import { type Attempts, addressGroup, countAttempts } from './attempts.ts';
import { unmatchableHash, verifyPassword } from './password.ts';

/** Passwords checked at the same time, and those that may wait for it: each check costs memory and a core. */
const CHECKS_AT_ONCE = 2;
const CHECKS_WAITING = 50;

type Credentials = { name: string; password: string };
type Outcome = Account | 'wrong' | 'locked';

function readBasic(header: string): Credentials | undefined {
  const encoded = /^Basic\s+([A-Za-z0-9+/]+={0,2})\s*$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? undefined : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function unauthorized(response: Response): AppError {
  response.set('WWW-Authenticate', 'Basic realm="Recognize", charset="UTF-8"');
  return new AppError('UNAUTHORIZED', 'This needs a login.');
}

const tooManyAttempts = (ms: number) =>
  new AppError('RATE_LIMITED', 'Too many wrong passwords from this address. Try again later.', {
    retryAfterSeconds: Math.max(1, Math.ceil(ms / 1000)),
  });

/** Who acts where no login is needed. */
const ANYBODY = 'local';

/** Name of the account behind the request. */
export function userOf(response: Response): string {
  return typeof response.locals.user === 'string' ? response.locals.user : ANYBODY;
}

/** What the request may do, as {@link requireLogin} found. */
export function roleOf(response: Response): Role {
  return response.locals.role === 'admin' ? 'admin' : 'viewer';
}

/**
 * HTTP Basic login. Passwords go through scrypt once; afterwards the same credentials are known by a keyed digest.
 * An address with repeated failures is locked out for a while, also with the right password.
 *
 * @param accounts nobody listed: everybody is admin
 */
export function requireLogin(
  accounts: readonly Account[],
  log: Logger,
  attempts: Attempts = countAttempts(),
): RequestHandler {
  const byName = new Map(accounts.map((entry) => [entry.name, entry]));
  const nobody = unmatchableHash();
  const secret = randomBytes(32);
  const known = new Map<string, Account>();
  const underWay = new Map<string, Promise<Outcome>>();
  const limit = pLimit(CHECKS_AT_ONCE);

  function noteFailure(address: string): 'wrong' {
    const lockMs = attempts.fail(address);
    if (lockMs > 0) log.warn({ address, seconds: lockMs / 1000 }, 'dashboard: address locked after wrong passwords');
    return 'wrong';
  }

  async function check({ name, password }: Credentials, digest: string, address: string): Promise<Outcome> {
    if (attempts.lockedForMs(address) > 0) return 'locked';
    const account = byName.get(name);
    const matches = await verifyPassword(password, account?.hash ?? nobody);
    if (account === undefined || !matches) return noteFailure(address);
    known.set(digest, account);
    return account;
  }

  /** A page asks for many things at once: the same credentials from one address are checked once. */
  function checkOnce(credentials: Credentials, digest: string, address: string): Promise<Outcome> {
    const key = `${address} ${digest}`;
    const earlier = underWay.get(key);
    if (earlier !== undefined) return earlier;
    if (limit.pendingCount >= CHECKS_WAITING) throw tooManyAttempts(1000);
    const checking = limit(() => check(credentials, digest, address)).finally(() => underWay.delete(key));
    underWay.set(key, checking);
    return checking;
  }

  async function identify(request: Request, response: Response): Promise<Pick<Account, 'name' | 'role'>> {
    if (accounts.length === 0) return { name: ANYBODY, role: 'admin' };
    const header = request.get('authorization');
    if (header === undefined) throw unauthorized(response);
    const address = addressGroup(request.ip ?? '');
    const locked = attempts.lockedForMs(address);
    if (locked > 0) throw tooManyAttempts(locked);
    const credentials = readBasic(header);
    if (credentials === undefined) {
      noteFailure(address);
      throw unauthorized(response);
    }
    const digest = createHmac('sha256', secret).update(`${credentials.name}\0${credentials.password}`).digest('hex');
    const outcome = known.get(digest) ?? (await checkOnce(credentials, digest, address));
    if (outcome === 'locked') throw tooManyAttempts(attempts.lockedForMs(address));
    if (outcome === 'wrong') throw unauthorized(response);
    return outcome;
  }

  return async (request, response, next) => {
    const { name, role } = await identify(request, response);
    response.locals.user = name;
    response.locals.role = role;
    next();
  };
}

/** Lets callers with the token pass; all others go through `otherwise`. */
export function acceptToken(token: string | undefined, otherwise: RequestHandler): RequestHandler {
  if (token === undefined) return otherwise;
  const secret = randomBytes(32);
  const digest = (text: string) => createHmac('sha256', secret).update(text).digest();
  const wanted = digest(token);
  return (request, response, next) => {
    const bearer = /^Bearer\s+(\S+)\s*$/i.exec(request.get('authorization') ?? '')?.[1];
    if (bearer !== undefined && timingSafeEqual(digest(bearer), wanted)) return next();
    return otherwise(request, response, next);
  };
}
