import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLocalStorage } from '../../../src/storage/storage.ts';
import { uploadReader } from '../../../src/web/upload.ts';
import { BODY_END, BOUNDARY, openRaw, partHead, requestHead } from '../../support/raw-http.ts';
import { tempDir } from '../../support/temp.ts';

const MIB = 1024 * 1024;
const LIMIT = 32 * MIB;
const HEAD_BYTES = 64 * 1024;

let server: Server;
let url: string;
const folder = tempDir('up');

beforeAll(async () => {
  const storage = await openLocalStorage(folder, join(folder, 'tmp'));
  const read = uploadReader(storage, LIMIT);
  const app = express();
  app.post('/api/detect/face/image', async (request, response) => {
    const { path, head, bytes, sha256 } = await read(request, response);
    const headSha256 = createHash('sha256').update(head).digest('hex');
    response.json({ path, bytes, sha256, headBytes: head.length, headSha256, fields: request.body });
  });
  server = createServer(app).listen(0);
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

const FILE = partHead('name="file"; filename="x.jpg"', 'image/jpeg');

function bodyOf(file: Uint8Array, before: string, after: string): Buffer {
  const field = (name: string, value: string) => `${partHead(`name="${name}"`)}${value}\r\n`;
  return Buffer.concat([
    Buffer.from(`${field('before', before)}${FILE}`),
    file,
    Buffer.from(`\r\n${field('after', after)}`.slice(0, -2)),
    Buffer.from(BODY_END),
  ]);
}

/** Sends a body in pieces, each of which reaches the server by itself as a rule. The file is left to the caller. */
async function send(body: Buffer, pieces: Iterable<Buffer>, pauseMs = 0) {
  const connection = openRaw(url);
  await connection.write(requestHead('face/image', { 'Content-Length': body.length }));
  for (const piece of pieces) {
    await connection.write(piece);
    await (pauseMs > 0 ? sleep(pauseMs) : nextTurn());
  }
  const answer = await connection.answer();
  connection.destroy();
  expect(answer.status, answer.body).toBe(200);
  return JSON.parse(answer.body);
}

function* cut(body: Buffer, size: () => number): Generator<Buffer> {
  for (let at = 0; at < body.length; ) {
    const piece = body.subarray(at, at + size());
    at += piece.length;
    yield piece;
  }
}

/** What the server says that it received, and what lies on its disk. */
async function post(body: Buffer, pieces: Iterable<Buffer>, pauseMs?: number) {
  const { path, ...said } = await send(body, pieces, pauseMs);
  const stored = sha256(readFileSync(path));
  rmSync(path);
  return { ...said, stored };
}

const received = (file: Uint8Array, before: string, after: string) => ({
  bytes: file.length,
  sha256: sha256(file),
  stored: sha256(file),
  headBytes: Math.min(file.length, HEAD_BYTES),
  headSha256: sha256(file.subarray(0, HEAD_BYTES)),
  fields: { before, after },
});

describe('a file', () => {
  it.each([
    ['of a few bytes, one by one', 300, () => 1],
    ['in pieces of a network', 200_000, () => 1448],
    ['in pieces of any size', 3 * MIB + 7, () => randomInt(1, 100_000)],
    ['in one', 2 * MIB, () => LIMIT],
  ])('%s arrives whole, with the fields around it', async (_, bytes, size) => {
    const file = randomBytes(bytes);
    const [before, after] = [randomBytes(4000).toString('hex'), randomBytes(4000).toString('hex')];
    const body = bodyOf(file, before, after);
    expect(await post(body, cut(body, size))).toEqual(received(file, before, after));
  });

  it('keeps the field behind it that is cut in two, wherever the cut is', async () => {
    const file = randomBytes(40_000);
    const after = randomBytes(3000).toString('hex');
    const body = bodyOf(file, 'x', after);
    const end = body.indexOf(BODY_END.slice(0, BOUNDARY.length), body.indexOf(file) + file.length);
    for (let place = end; place < body.length; place += 611) {
      const pieces = [body.subarray(0, place), body.subarray(place)];
      // Long enough for the file to be on the disk before the rest of the field comes.
      expect(await post(body, pieces, 40), `cut at ${place}`).toEqual(received(file, 'x', after));
    }
  });

  it('with what looks like its end inside arrives whole', async () => {
    const almost = Buffer.from(`\r\n--${BOUNDARY.slice(0, -1)}-`);
    const file = Buffer.concat(Array.from({ length: 3000 }, () => Buffer.concat([randomBytes(randomInt(60)), almost])));
    const body = bodyOf(file, 'a', 'b');
    expect(
      await post(
        body,
        cut(body, () => randomInt(1, 5000)),
      ),
    ).toEqual(received(file, 'a', 'b'));
  });
});

it('leaves no memory to the garbage collector that grows with what is uploaded', async () => {
  const body = bodyOf(randomBytes(2 * MIB), 'a', 'b');
  const post = async () => rmSync((await send(body, [body])).path);
  await post();
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let upload = 0; upload < 12; upload++) {
    await post();
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  expect(most).toBeLessThan(6 * MIB);
});
