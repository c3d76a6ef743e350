import type { IncomingHttpHeaders } from 'node:http';

/** Headers by which a proxy shows that it speaks for somebody else. */
const PROXY_HEADERS = ['x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'forwarded', 'via'];

export function isProxied(headers: IncomingHttpHeaders): boolean {
  return PROXY_HEADERS.some((header) => headers[header] !== undefined);
}

/** True for an address or name on which only this machine is heard. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === '::1' || bare === 'localhost' || bare.endsWith('.localhost') || /^127(\.\d{1,3}){3}$/.test(bare);
}

/**
 * True where a caller calls this machine by such a name. A page whose own name was made to point here (DNS rebinding) does
 * not.
 */
export function isCalledLoopback({ host = '' }: IncomingHttpHeaders): boolean {
  const url = `http://${host}`;
  return URL.canParse(url) && isLoopbackHost(new URL(url).hostname);
}
