import { describe, expect, test } from 'vitest';
import { freeBuffer } from '../../src/free-buffer.ts';

const MANY = 1_000_000;

describe('freeBuffer', () => {
  test('gives the memory of a large buffer back at once', () => {
    const before = process.memoryUsage().arrayBuffers;
    const bytes = new Uint8Array(50 * MANY);
    expect(process.memoryUsage().arrayBuffers).toBeGreaterThan(before + 40 * MANY);
    freeBuffer(bytes);
    expect(bytes.byteLength).toBe(0);
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(before + 40 * MANY);
  });

  test('may be asked twice', () => {
    const bytes = new Float32Array(MANY);
    freeBuffer(bytes);
    freeBuffer(bytes);
    expect(bytes.byteLength).toBe(0);
  });

  test.each([
    ['a part of a larger buffer', new Uint8Array(2 * MANY).subarray(0, MANY)],
    ['few bytes', new Uint8Array(1000)],
    ['bytes that threads share', new Uint8Array(new SharedArrayBuffer(MANY))],
  ])('leaves %s alone', (_, bytes) => {
    const { byteLength } = bytes;
    freeBuffer(bytes);
    expect(bytes.byteLength).toBe(byteLength);
  });
});
