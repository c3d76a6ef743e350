import process from 'node:process';
import type { Duplex } from 'node:stream';

const joined = new WeakSet<Duplex>();

/**
 * Lets what is written to a stream within one turn of the event loop go out together: one call of the system instead of
 * one for each command, here and for the reader at the other end. Nothing is held back for longer.
 */
export function joinWrites(stream: Duplex): void {
  if (joined.has(stream)) return;
  joined.add(stream);
  const write: (...given: unknown[]) => boolean = stream.write.bind(stream) as never;
  let corked = false;
  const release = () => {
    corked = false;
    stream.uncork();
  };
  stream.write = (...given: unknown[]) => {
    if (!corked) {
      corked = true;
      stream.cork();
      process.nextTick(release);
    }
    return write(...given);
  };
}
