import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createFrameRing, createRingReader, createRingWriter } from '../../../src/media/frame-ring.ts';

const SIZE = { width: 2, height: 1 };
const BYTES = 6;

/** Frames of six equal bytes each, one value after the other. */
const frames = (...values: number[]) => Uint8Array.from(values.flatMap((value) => Array(BYTES).fill(value)));

function counting() {
  let index = 0;
  return async () => ({ index, timestamp: index++ / 10 });
}

function setUp() {
  const ring = createFrameRing(SIZE);
  return { writer: createRingWriter(ring), reader: createRingReader(ring) };
}

test('frames come out as they went in, however they are cut', async () => {
  const bytes = frames(1, 2, 3, 4, 5, 6, 7, 8, 9);
  for (const piece of [1, 4, 6, 7, 100]) {
    const { writer, reader } = setUp();
    const facts = counting();
    const filling = (async () => {
      for (let at = 0; at < bytes.length; at += piece) await writer.write(bytes.subarray(at, at + piece), facts);
      writer.close();
    })();
    for (let n = 0; n < 9; n++) {
      const frame = await reader.take();
      expect(frame).toMatchObject({ index: n, timestamp: n / 10 });
      expect(frame?.data).toEqual(frames(n + 1));
    }
    expect(await reader.take()).toBeUndefined();
    await filling;
    expect(writer.isAmidFrame()).toBe(false);
  }
});

test('no frame is overwritten while it is looked at, and the writer waits meanwhile', async () => {
  const { writer, reader } = setUp();
  let isWritten = false;
  const filling = writer.write(frames(1, 2, 3, 4, 5, 6), counting()).then(() => {
    isWritten = true;
  });
  const first = await reader.take();
  await sleep(20);
  expect(first?.data).toEqual(frames(1));
  expect(isWritten).toBe(false);
  await reader.take();
  await reader.take();
  await filling;
  expect(first?.data).toEqual(frames(5));
});

test('a frame is handed over once its facts are known', async () => {
  const { writer, reader } = setUp();
  let tell: (facts: { index: number; timestamp: number }) => void = () => {};
  const facts = new Promise<{ index: number; timestamp: number }>((resolve) => {
    tell = resolve;
  });
  void writer.write(frames(7), () => facts);
  const taking = reader.take();
  tell({ index: 41, timestamp: 4.25 });
  expect(await taking).toMatchObject({ index: 41, timestamp: 4.25 });
});

test('closing wakes whoever waits', async () => {
  const reading = setUp();
  const taken = reading.reader.take();
  reading.writer.close();
  expect(await taken).toBeUndefined();

  const writing = setUp();
  const written = writing.writer.write(frames(1, 2, 3, 4, 5), counting());
  await sleep(5);
  writing.reader.close();
  expect(await written).toBe(false);
});

test('what is decoded is counted beside it', () => {
  const { writer, reader } = setUp();
  writer.countDecoded(12);
  expect(reader.decoded()).toBe(12);
});
