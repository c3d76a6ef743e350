import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { unlessSilent } from '../../../src/storage/unless-silent.ts';

async function collect(pieces: AsyncIterable<Buffer>, pauseMs = 0): Promise<string> {
  let text = '';
  for await (const piece of pieces) {
    text += piece.toString();
    if (pauseMs > 0) await sleep(pauseMs);
  }
  return text;
}

it('reads a stream that goes on', async () => {
  const stream = new PassThrough();
  const text = collect(unlessSilent(stream, 1000));
  for (const piece of ['a', 'b', 'c']) {
    stream.write(piece);
    await sleep(20);
  }
  stream.end();
  expect(await text).toBe('abc');
});

it('gives up one that falls silent', async () => {
  const stream = new PassThrough();
  stream.write('a');
  await expect(collect(unlessSilent(stream, 50))).rejects.toThrow('nothing came for 50 ms');
  expect(stream.destroyed).toBe(true);
});

it('waits for a slow reader as long as it takes', async () => {
  const stream = Readable.from([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')]);
  expect(await collect(unlessSilent(stream, 30), 80)).toBe('abc');
});

it('lets go of a stream that is not read to its end', async () => {
  const stream = new PassThrough();
  stream.write('a');
  for await (const _ of unlessSilent(stream, 1000)) break;
  expect(stream.destroyed).toBe(true);
});
