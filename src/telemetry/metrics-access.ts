import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isCalledLoopback, isProxied } from '../own-machine.ts';

/**
 * True for a caller on this machine that no proxy speaks for, unless proxies are believed. The name by which it calls
 * must be this machine's, too: a page whose own name was made to point here (DNS rebinding) is a stranger.
 *
 * @param address of the caller, as the proxies say where they are believed
 */
export function isOwnMachine(headers: IncomingHttpHeaders, address: string, believesProxies: boolean): boolean {
  const proxied = isProxied(headers);
  if (!proxied && !isCalledLoopback(headers)) return false;
  if (proxied && !believesProxies) return false;
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Whether a request brings this token as `Authorization: Bearer`; nobody does where there is none. */
export function bringsToken(headers: IncomingHttpHeaders, token: string | undefined): boolean {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
  return token !== undefined && bearer !== undefined && timingSafeEqual(digest(bearer), digest(token));
}
