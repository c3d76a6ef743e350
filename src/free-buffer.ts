/** Bytes below which freeing at once costs more than it saves, where they come one by one. */
const LEAST_BYTES = 64 * 1024;

/**
 * Gives the memory behind many bytes back at once, rather than when garbage is collected next: V8 sees a small object
 * and is in no hurry, while the megabytes of picture after picture pile up. The bytes must not be used again; few of
 * them, and a part of a larger buffer, are left to V8.
 *
 * @param leastBytes what is few
 */
export function freeBuffer({ buffer, byteLength }: ArrayBufferView, leastBytes = LEAST_BYTES): void {
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  if (isWhole && byteLength >= leastBytes) buffer.transfer(0);
}
