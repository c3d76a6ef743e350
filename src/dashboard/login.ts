import { createHmac, randomBytes } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import pLimit from 'p-limit';
import { addressGroup } from '../address-group.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { bringsToken } from '../telemetry/metrics-access.ts';
import type { Account, Role } from './accounts.ts';
import { countLoginAttempts, type LoginAttempts } from './login-attempts.ts';
import { type PasswordHash, unmatchableHash, verifyPassword } from './password.ts';
import { createSessions } from './session-cookie.ts';

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
 * An address with repeated failures is locked out for a while, also with the right password; who has logged in from a
 * browser before stays in, whoever else shares the address.
 *
 * @param accounts nobody listed: everybody is admin
 */
export function requireLogin(
  accounts: readonly Account[],
  log: Logger,
  attempts: LoginAttempts = countLoginAttempts(),
): RequestHandler {
  const byName = new Map(accounts.map((entry) => [entry.name, entry]));
  const sessions = createSessions(accounts);
  const secret = randomBytes(32);
  const known = new Map<string, Account>();
  const underWay = new Map<string, Promise<Outcome>>();
  const limit = pLimit(CHECKS_AT_ONCE);

  function noteFailure(address: string): 'wrong' {
    const lockMs = attempts.fail(address);
    if (lockMs > 0) log.warn({ address, seconds: lockMs / 1000 }, 'dashboard: address locked after wrong passwords');
    return 'wrong';
  }

  /** For unknown names, so that they take as long as known ones: each has the cost of some account's hash, always the same. */
  function standIn(name: string): PasswordHash {
    const pick = createHmac('sha256', secret).update(`stand-in\0${name}`).digest().readUInt32BE();
    return unmatchableHash(accounts[pick % accounts.length]?.hash);
  }

  async function check({ name, password }: Credentials, digest: string, address: string): Promise<Outcome> {
    if (attempts.lockedForMs(address) > 0) return 'locked';
    const account = byName.get(name);
    const matches = await verifyPassword(password, account?.hash ?? standIn(name));
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
    const credentials = readBasic(request.get('authorization') ?? '');
    const session = sessions.read(request);
    // A password that comes along is not looked at: it could be guessed that way. Another name is another login.
    if (session !== undefined && (credentials === undefined || credentials.name === session.account.name)) {
      if (session.isOld) sessions.start(request, response, session.account);
      return session.account;
    }
    // A token for something else is no wrong password.
    if (credentials === undefined) throw unauthorized(response);
    const address = addressGroup(request.ip ?? '');
    const locked = attempts.lockedForMs(address);
    if (locked > 0) throw tooManyAttempts(locked);
    const digest = createHmac('sha256', secret).update(`${credentials.name}\0${credentials.password}`).digest('hex');
    const outcome = known.get(digest) ?? (await checkOnce(credentials, digest, address));
    if (outcome === 'locked') throw tooManyAttempts(attempts.lockedForMs(address));
    if (outcome === 'wrong') throw unauthorized(response);
    sessions.start(request, response, outcome);
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
  return (request, response, next) =>
    bringsToken(request.headers, token) ? next() : otherwise(request, response, next);
}
