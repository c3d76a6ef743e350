import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { StartError } from '../../src/errors.ts';
import { listen } from '../../src/listen.ts';

const settings = { portSetting: 'PORT', hostSetting: 'HOST' };

function newServer() {
  const server = createServer((_request, response) => response.end('here'));
  onTestFinished(() => {
    server.close();
  });
  return server;
}

test.each([
  ['127.0.0.1', /^http:\/\/127\.0\.0\.1:\d+$/],
  ['localhost', /^http:\/\/localhost:\d+$/],
  [undefined, /^http:\/\/\[::\]:\d+$/],
])('tells where a server listens on host %s', async (host, address) => {
  const url = await listen(newServer(), { host, port: 0, ...settings });
  expect(url).toMatch(address);
  expect(await (await fetch(url.replace('[::]', '127.0.0.1'))).text()).toBe('here');
});

test('a port that is taken is told in a sentence', async () => {
  const url = await listen(newServer(), { host: '127.0.0.1', port: 0, ...settings });
  const port = Number(new URL(url).port);
  const second = listen(newServer(), { host: '127.0.0.1', port, ...settings });
  await expect(second).rejects.toThrow(new StartError(`Port ${port} on 127.0.0.1 is taken. Set PORT to a free one.`));
});

test('a server that could not listen may try elsewhere', async () => {
  const server = newServer();
  await expect(listen(server, { host: '192.0.2.1', port: 0, ...settings })).rejects.toThrow(
    'HOST is "192.0.2.1", which is no address of this machine.',
  );
  await listen(server, { host: '127.0.0.1', port: 0, ...settings });
  server.close();
  await once(server, 'close');
});
