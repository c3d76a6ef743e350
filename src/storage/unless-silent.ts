import type { Readable } from 'node:stream';

/**
 * Reads a stream from the network that may fall silent. The reader's own pauses do not count.
 *
 * @param limitMs how long a next piece may take
 * @throws Error where it takes longer; the stream is destroyed in any case
 */
export async function* unlessSilent(stream: Readable, limitMs: number): AsyncGenerator<Buffer> {
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      const timer = setTimeout(() => stream.destroy(new Error(`nothing came for ${limitMs} ms`)), limitMs);
      const { done, value } = await pieces.next().finally(() => clearTimeout(timer));
      if (done === true) return;
      yield value;
    }
  } finally {
    stream.destroy();
  }
}
