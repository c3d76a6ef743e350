import { describe, expect, it } from 'vitest';
import { parseRedisUrl, type RedisPlace } from '../../src/redis-url.ts';

describe('a REDIS_URL', () => {
  it.each<[string, RedisPlace]>([
    ['redis://h', { mode: 'single', address: { host: 'h', port: 6379 }, database: 0, tls: false }],
    ['redis://', { mode: 'single', address: { host: '127.0.0.1', port: 6379 }, database: 0, tls: false }],
    [
      'rediss://me:p%40s:s@[::1]:1/2',
      { mode: 'single', address: { host: '::1', port: 1 }, database: 2, tls: true, username: 'me', password: 'p@s:s' },
    ],
    [
      'redis://:a@b@h/',
      { mode: 'single', address: { host: 'h', port: 6379 }, database: 0, tls: false, password: 'a@b' },
    ],
    ['unix:///run/a%20b.sock', { mode: 'socket', path: '/run/a b.sock' }],
    [
      'redis-sentinel://:pw@h1:1,h2/main/3',
      {
        mode: 'sentinel',
        addresses: [
          { host: 'h1', port: 1 },
          { host: 'h2', port: 26_379 },
        ],
        master: 'main',
        database: 3,
        tls: false,
        password: 'pw',
      },
    ],
    [
      'rediss-cluster://h1.example.org,[fe80::1]:7001',
      {
        mode: 'cluster',
        addresses: [
          { host: 'h1.example.org', port: 6379 },
          { host: 'fe80::1', port: 7001 },
        ],
        tls: true,
      },
    ],
    ['redis-cluster://h/0', { mode: 'cluster', addresses: [{ host: 'h', port: 6379 }], tls: false }],
  ])('%s', (url, place) => {
    expect(parseRedisUrl(url)).toEqual(place);
  });

  it.each([
    'localhost:6379',
    'http://h',
    'valkey://h',
    'redis://h:0',
    'redis://h:65536',
    'redis://h/main',
    'redis://h/1/2',
    'redis://a,b',
    'redis://h?db=1',
    'redis://:%@h',
    'unix://',
    'redis-sentinel://h',
    'redis-sentinel://h/',
    'redis-sentinel:///main',
    'redis-sentinel://h,/main',
    'redis-sentinel://h/main/x',
    'redis-cluster://',
    'redis-cluster://h/1',
    'redis-cluster://h,',
    'unix-cluster://h',
  ])('is none: %s', (url) => {
    expect(parseRedisUrl(url)).toBeUndefined();
  });
});
