import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { openConnection } from '../../../bench/load/connection.ts';
import { prepareGet } from '../../../bench/load/requests.ts';

const server = createServer((request, response) => {
  if (request.url === '/hang-up') return void request.socket.destroy();
  const body = Buffer.from(`{"path":"${request.url}","text":"größer"}`);
  response.writeHead(request.url === '/missing' ? 404 : 200, { 'Content-Length': body.length });
  response.write(body.subarray(0, 5));
  setTimeout(() => response.end(body.subarray(5)), 20);
});

async function connect() {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return openConnection(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

describe('openConnection', () => {
  it('puts an answer together from its parts, and asks again on the same connection', async () => {
    const connection = await connect();
    expect(await connection.send(prepareGet('/one'))).toEqual({ status: 200, body: '{"path":"/one","text":"größer"}' });
    expect(await connection.send(prepareGet('/missing'))).toMatchObject({ status: 404 });
    connection.close();
  });

  it('tells when the server hangs up', async () => {
    const connection = await connect();
    await expect(connection.send(prepareGet('/hang-up'))).rejects.toThrow('closed the connection');
    await expect(connection.send(prepareGet('/one'))).rejects.toThrow('the connection is closed');
  });
});
