import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { createKeyring, DAMAGED_SENTENCE, MISSING_KEY_SENTENCE } from '../../../src/sealing/keyring.ts';
import {
  HEADER_BYTES,
  openSeal,
  readSealed,
  SEGMENT_BYTES,
  sealedBytes,
  sealFile,
} from '../../../src/sealing/sealed-file.ts';

const STORED_SEGMENT = SEGMENT_BYTES + 16;
const NAME = 'a.jpg';
const key = { id: 'k1', secret: new Uint8Array(randomBytes(32)) };
const keyring = createKeyring([key]);

/** In pieces of sizes that fit nothing. */
async function* inChunks(bytes: Buffer, size = 10_007): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const seal = (plain: Buffer, name = NAME) => buffer(sealFile(key, name, inChunks(plain), plain.length));

async function read(stored: Buffer, from?: number, to?: number, name = NAME, ring = keyring): Promise<Buffer> {
  const header = openSeal(ring, name, stored.subarray(0, HEADER_BYTES), stored.length);
  const readStored = (start: number, end: number) => inChunks(stored.subarray(start, end), 7001);
  return buffer(readSealed(header, name, readStored, from ?? 0, to ?? header.bytes));
}

const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};

const segment = (stored: Buffer, index: number) =>
  stored.subarray(HEADER_BYTES + index * STORED_SEGMENT, HEADER_BYTES + (index + 1) * STORED_SEGMENT);

describe('a sealed file', () => {
  it.each([0, 1, 15, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES, 200_000])(
    'of %i bytes comes back as it was, as long as is known before',
    async (bytes) => {
      const plain = randomBytes(bytes);
      const stored = await seal(plain);
      expect(stored.length).toBe(sealedBytes(bytes));
      expect(await read(stored)).toEqual(plain);
    },
  );

  it('comes back in parts, to the byte at the borders of segments', async () => {
    const plain = randomBytes(3 * SEGMENT_BYTES + 100);
    const stored = await seal(plain);
    const borders = [0, 1, 2, 3].flatMap((n) => [-1, 0, 1].map((by) => n * SEGMENT_BYTES + by)).filter((at) => at >= 0);
    for (const from of [...borders, plain.length - 1]) {
      for (const to of [...borders, plain.length]) {
        if (from >= to) continue;
        const part = await read(stored, from, to);
        expect(part.equals(plain.subarray(from, to)), `${from} to ${to}`).toBe(true);
      }
    }
    expect((await read(stored, 5, 5)).length).toBe(0);
  });

  it('reads no more than the segments that are asked for', async () => {
    const plain = randomBytes(4 * SEGMENT_BYTES);
    const stored = await seal(plain);
    const ranges: [number, number][] = [];
    const header = openSeal(keyring, NAME, stored.subarray(0, HEADER_BYTES), stored.length);
    const readStored = (from: number, to: number) => {
      ranges.push([from, to]);
      return inChunks(stored.subarray(from, to));
    };
    const part = await buffer(readSealed(header, NAME, readStored, SEGMENT_BYTES + 10, 2 * SEGMENT_BYTES + 10));
    expect(part.length).toBe(SEGMENT_BYTES);
    expect(ranges).toEqual([[HEADER_BYTES + STORED_SEGMENT, HEADER_BYTES + 3 * STORED_SEGMENT]]);
  });

  it('holds nothing of the plain one, and never looks the same twice', async () => {
    const plain = Buffer.from('a person with a bicycle '.repeat(10_000));
    const [one, two] = [await seal(plain), await seal(plain)];
    expect(one.includes('person')).toBe(false);
    expect(one.equals(two)).toBe(false);
    expect(segment(one, 0).equals(segment(one, 1))).toBe(false);
  });

  it('cannot be stored shorter or longer than was said', async () => {
    const plain = randomBytes(1000);
    for (const bytes of [999, 1001])
      await expect(buffer(sealFile(key, NAME, inChunks(plain), bytes))).rejects.toThrow();
  });

  describe('is refused when', () => {
    const plain = randomBytes(3 * SEGMENT_BYTES + 100);

    it('any part of it was changed', async () => {
      const stored = await seal(plain);
      for (const at of [
        0,
        8,
        9,
        40,
        47,
        48,
        HEADER_BYTES - 1,
        HEADER_BYTES,
        HEADER_BYTES + STORED_SEGMENT - 1,
        stored.length - 1,
      ])
        await expect(read(flipped(stored, at)), `byte ${at}`).rejects.toThrow();
    });

    it('segments changed places', async () => {
      const stored = await seal(plain);
      const order = [
        stored.subarray(0, HEADER_BYTES),
        segment(stored, 1),
        segment(stored, 0),
        segment(stored, 2),
        segment(stored, 3),
      ];
      await expect(read(Buffer.concat(order))).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('its end was cut off, wherever', async () => {
      const stored = await seal(plain);
      for (const end of [HEADER_BYTES + 2 * STORED_SEGMENT, HEADER_BYTES + 10, HEADER_BYTES, 10, 0, stored.length - 1])
        await expect(read(stored.subarray(0, end)), `at ${end}`).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('something was added', async () => {
      const stored = await seal(plain);
      await expect(read(Buffer.concat([stored, segment(stored, 3)]))).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('its length was made to fit what is left', async () => {
      const stored = Buffer.from((await seal(plain)).subarray(0, HEADER_BYTES + 2 * STORED_SEGMENT));
      stored.writeBigUInt64BE(BigInt(2 * SEGMENT_BYTES), 40);
      await expect(read(stored)).rejects.toThrow(DAMAGED_SENTENCE);
      await expect(read(stored, 0, 10)).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('a segment is one of another file', async () => {
      const [one, two] = [await seal(plain), await seal(plain)];
      const mixed = Buffer.concat([
        one.subarray(0, HEADER_BYTES),
        segment(two, 0),
        one.subarray(HEADER_BYTES + STORED_SEGMENT),
      ]);
      await expect(read(mixed)).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('it lies under the name of another file', async () => {
      await expect(read(await seal(plain), 0, 10, 'b.jpg')).rejects.toThrow(DAMAGED_SENTENCE);
    });

    it('its key is missing or another one', async () => {
      const stored = await seal(plain);
      const other = { id: 'k2', secret: new Uint8Array(32) };
      await expect(read(stored, 0, 10, NAME, createKeyring([other]))).rejects.toThrow(MISSING_KEY_SENTENCE);
      const impostor = createKeyring([{ ...other, id: 'k1' }]);
      await expect(read(stored, 0, 10, NAME, impostor)).rejects.toThrow(DAMAGED_SENTENCE);
    });
  });
});
