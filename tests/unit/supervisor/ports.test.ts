import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { browserUrl, requireDistinctPorts, requireFreePort } from '../../../src/supervisor/ports.ts';

const settings = { portSetting: 'PORT', hostSetting: 'HOST' };

it('names the setting of a taken port, and lets a free one be used', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
  });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const wanted = { host: '127.0.0.1', port, ...settings };
  await expect(requireFreePort(wanted)).rejects.toThrow(`Port ${port} on 127.0.0.1 is taken. Set PORT to a free one.`);
  await expect(requireFreePort({ ...wanted, host: '0.0.0.0' })).rejects.toThrow(
    `Port ${port} on 0.0.0.0 is taken. Set PORT to a free one.`,
  );
  server.close();
  await once(server, 'close');
  await requireFreePort(wanted);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  expect(server.listening).toBe(true);
});

it('names the setting of a host that is not this machine', async () => {
  await expect(requireFreePort({ host: '192.0.2.1', port: 0, ...settings })).rejects.toThrow(
    'HOST is "192.0.2.1", which is no address of this machine.',
  );
});

it('tells two settings apart that ask for the same place', () => {
  const web = { host: '127.0.0.1', port: 5000, ...settings };
  const dashboard = { host: '127.0.0.1', port: 5000, portSetting: 'DASHBOARD_PORT', hostSetting: 'DASHBOARD_HOST' };
  const sentence = 'PORT and DASHBOARD_PORT both ask for port 5000. Change one of them.';
  expect(() => requireDistinctPorts([web, dashboard])).toThrow(sentence);
  expect(() => requireDistinctPorts([web, { ...dashboard, host: '0.0.0.0' }])).toThrow(sentence);
  expect(() => requireDistinctPorts([web, { ...dashboard, host: '127.0.0.2' }])).not.toThrow();
  expect(() => requireDistinctPorts([web, { ...dashboard, port: 5555 }])).not.toThrow();
  expect(() =>
    requireDistinctPorts([
      { ...web, port: 0 },
      { ...dashboard, port: 0 },
    ]),
  ).not.toThrow();
});

it('shows addresses that a browser takes', () => {
  expect(browserUrl('http://127.0.0.1:5000')).toBe('http://127.0.0.1:5000');
  expect(browserUrl('http://0.0.0.0:5555')).toBe('http://localhost:5555');
  expect(browserUrl('http://[::]:5555')).toBe('http://localhost:5555');
  expect(browserUrl('http://[::1]:5000')).toBe('http://[::1]:5000');
});
