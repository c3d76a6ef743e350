import { expect, test } from 'vitest';
import { isCalledLoopback, isLoopbackHost, isProxied } from '../../src/own-machine.ts';

test.each(['localhost', 'LOCALHOST', 'x.localhost', '127.0.0.1', '127.8.9.1', '::1', '[::1]'])(
  '%s is this machine',
  (name) => {
    expect(isLoopbackHost(name)).toBe(true);
    expect(isCalledLoopback({ host: name === '::1' ? '[::1]:5555' : `${name}:5555` })).toBe(true);
  },
);

test.each(['0.0.0.0', '192.0.2.1', 'localhost.example', '127.0.0.1.example', '::', 'rebound.example', ''])(
  '%s is not',
  (name) => {
    expect(isLoopbackHost(name)).toBe(false);
    expect(isCalledLoopback({ host: name })).toBe(false);
  },
);

test('a request without a name, or with one that is none, is not meant for this machine', () => {
  expect(isCalledLoopback({})).toBe(false);
  expect(isCalledLoopback({ host: 'local host' })).toBe(false);
});

test('any header of a proxy tells of one', () => {
  expect(isProxied({ host: 'localhost', accept: '*/*' })).toBe(false);
  for (const name of ['x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'forwarded', 'via'])
    expect(isProxied({ [name]: 'x' })).toBe(true);
});
