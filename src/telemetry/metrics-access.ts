import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** Headers by which a proxy shows that it speaks for somebody else. */
const PROXY_HEADERS = ['x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'forwarded', 'via'];

const LOOPBACK_HOST = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;

/**
 * True for a caller on this machine that no proxy speaks for, unless proxies are believed. The name by which it calls
 * must be this machine's, too: a page whose own name was made to point here (DNS rebinding) is a stranger.
 *
 * @param address of the caller, as the proxies say where they are believed
 */
export function isOwnMachine(headers: IncomingHttpHeaders, address: string, believesProxies: boolean): boolean {
  const proxied = PROXY_HEADERS.some((header) => headers[header] !== undefined);
  if (!proxied && !LOOPBACK_HOST.test(headers.host ?? '')) return false;
  if (proxied && !believesProxies) return false;
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Whether a request brings this token as `Authorization: Bearer`; nobody does where there is none. */
export function bringsToken(headers: IncomingHttpHeaders, token: string | undefined): boolean {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
  return token !== undefined && bearer !== undefined && timingSafeEqual(digest(bearer), digest(token));
}
