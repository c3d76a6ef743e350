import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { joinWrites } from '../../../src/queue/joined-writes.ts';

/** A stream that notes which chunks came together. */
function noting() {
  const written: string[][] = [];
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push([chunk.toString()]);
      done();
    },
    writev(chunks, done) {
      written.push(chunks.map(({ chunk }) => String(chunk)));
      done();
    },
  });
  return { stream, written };
}

test('what is written in one turn of the event loop goes out together, in order', async () => {
  const { stream, written } = noting();
  joinWrites(stream);
  stream.write('a');
  // Further promises of the same turn belong to it.
  await Promise.resolve();
  stream.write('b');
  void Promise.resolve().then(() => stream.write(Buffer.from('c')));
  expect(written).toEqual([]);
  await nextTurn();
  expect(written).toEqual([['a', 'b', 'c']]);
  stream.write('d');
  await nextTurn();
  expect(written).toEqual([['a', 'b', 'c'], ['d']]);
});

test('joining twice is joining once, and an end lets out what was written before it', async () => {
  const { stream, written } = noting();
  joinWrites(stream);
  joinWrites(stream);
  let told: unknown;
  stream.write('a', (error) => {
    told = error ?? 'written';
  });
  stream.end('b');
  await nextTurn();
  expect(written.flat()).toEqual(['a', 'b']);
  expect(told).toBe('written');
});
