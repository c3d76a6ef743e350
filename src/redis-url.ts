export type RedisAddress = { host: string; port: number };

/** Where REDIS_URL points to. */
export type RedisPlace =
  | { mode: 'socket'; path: string }
  | (Credentials & { mode: 'single'; address: RedisAddress; database: number })
  | (Credentials & { mode: 'sentinel'; addresses: RedisAddress[]; master: string; database: number })
  | (Credentials & { mode: 'cluster'; addresses: RedisAddress[] });

type Credentials = { tls: boolean; username?: string; password?: string };

export const REDIS_URL_FORMS =
  'redis://[user:password@]host[:port][/database], redis-sentinel://[:password@]host:port,host:port/master, ' +
  'redis-cluster://[:password@]host:port,host:port (each also with rediss for TLS), or unix:///path';

const URL_PARTS = /^(unix|rediss?(?:-sentinel|-cluster)?):\/\/(?:([^/]*)@)?([^/?#]*)(\/[^?#]*)?$/i;
const ADDRESS = /^(?:\[([\da-f:.]+)\]|([\w.-]+))?(?::(\d{1,5}))?$/i;

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26379;

function parseAddress(text: string, defaultPort: number): RedisAddress | undefined {
  const match = ADDRESS.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3] ?? defaultPort);
  return port < 1 || port > 65_535 ? undefined : { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}

function parseAddresses(text: string, defaultPort: number): RedisAddress[] | undefined {
  const addresses = text.split(',').map((part) => (part === '' ? undefined : parseAddress(part, defaultPort)));
  return addresses.every((address) => address !== undefined) ? addresses : undefined;
}

function parseDatabase(text = ''): number | undefined {
  return /^\d{0,5}$/.test(text) ? Number(text) : undefined;
}

function parseCredentials(text: string | undefined, tls: boolean): Credentials {
  const [username = '', ...rest] = (text ?? '').split(':');
  const password = rest.join(':');
  return {
    tls,
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  };
}

/** Reads a REDIS_URL; undefined where it is none of {@link REDIS_URL_FORMS}. */
export function parseRedisUrl(url: string): RedisPlace | undefined {
  const [, scheme = '', userinfo, hosts = '', path = ''] = URL_PARTS.exec(url) ?? [];
  try {
    const [protocol, mode] = scheme.toLowerCase().split('-');
    if (protocol === 'unix') return path === '' ? undefined : { mode: 'socket', path: decodeURIComponent(path) };
    if (protocol !== 'redis' && protocol !== 'rediss') return undefined;
    const credentials = parseCredentials(userinfo, protocol === 'rediss');
    const [first = '', second, ...more] = path.slice(1).split('/');
    if (more.length > 0) return undefined;
    if (mode === 'sentinel') {
      const addresses = parseAddresses(hosts, DEFAULT_SENTINEL_PORT);
      const database = parseDatabase(second);
      const master = decodeURIComponent(first);
      if (addresses === undefined || database === undefined || master === '') return undefined;
      return { mode, addresses, master, database, ...credentials };
    }
    if (second !== undefined) return undefined;
    if (mode === 'cluster') {
      const addresses = parseAddresses(hosts, DEFAULT_PORT);
      // A cluster has no databases but the first.
      return addresses === undefined || !/^0?$/.test(first) ? undefined : { mode, addresses, ...credentials };
    }
    const address = parseAddress(hosts, DEFAULT_PORT);
    const database = parseDatabase(first);
    if (address === undefined || database === undefined) return undefined;
    return { mode: 'single', address, database, ...credentials };
  } catch {
    // A broken percent sign.
    return undefined;
  }
}
