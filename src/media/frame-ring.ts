import type { Size } from '../detect/detector.ts';

/** Frames that may wait between decoder and detector: enough to even out both, few enough to stay small. */
const SLOTS = 4;

/** Places in `counters`; a thread that waits for news waits for one of the last two to change. */
const FILLED = 0;
const TAKEN = 1;
const CLOSED = 2;
const DECODED = 3;
const NEWS_OF_FILLING = 4;
const NEWS_OF_TAKING = 5;

/** A ring of frames in shared memory, for one thread that fills it and one that takes from it. */
export type FrameRing = { frameBytes: number; slots: SharedArrayBuffer[]; facts: Float64Array; counters: Int32Array };

/** Number of a frame in the whole file, from 0, and its time in seconds from the first frame. */
export type FrameFacts = { index: number; timestamp: number };

/** @param size of each frame, RGB with 8 bits a channel */
export function createFrameRing(size: Size): FrameRing {
  const frameBytes = size.width * size.height * 3;
  return {
    frameBytes,
    slots: Array.from({ length: SLOTS }, () => new SharedArrayBuffer(frameBytes)),
    facts: new Float64Array(new SharedArrayBuffer(2 * SLOTS * Float64Array.BYTES_PER_ELEMENT)),
    counters: new Int32Array(new SharedArrayBuffer(6 * Int32Array.BYTES_PER_ELEMENT)),
  };
}

/** The counters wrap around together, so that their difference stays right. */
const waiting = (counters: Int32Array) => (Atomics.load(counters, FILLED) - Atomics.load(counters, TAKEN)) | 0;

const slotOf = (count: number) => (count >>> 0) % SLOTS;

function tell(counters: Int32Array, news: number): void {
  Atomics.add(counters, news, 1);
  Atomics.notify(counters, news);
}

/** Asks `isReady` now and after every piece of news, until it says yes. */
async function until(isReady: () => boolean, counters: Int32Array, news: number): Promise<void> {
  for (;;) {
    const seen = Atomics.load(counters, news);
    if (isReady()) return;
    const wait = Atomics.waitAsync(counters, news, seen);
    if (wait.async) await wait.value;
  }
}

const isClosed = (counters: Int32Array) => Atomics.load(counters, CLOSED) === 1;

/** The filling side. */
export function createRingWriter({ frameBytes, slots, facts, counters }: FrameRing) {
  const frames = slots.map((slot) => new Uint8Array(slot));
  let offset = 0;

  const isRoom = () => waiting(counters) < SLOTS || isClosed(counters);

  return {
    /**
     * Adds bytes of frames as they come out of a pipe; waits where the other side is behind.
     *
     * @param nextFacts gives the facts of the next frame, once all its bytes are there
     * @returns false once the ring is closed
     */
    async write(chunk: Uint8Array, nextFacts: () => Promise<FrameFacts>): Promise<boolean> {
      let at = 0;
      while (at < chunk.length) {
        if (offset === 0) await until(isRoom, counters, NEWS_OF_TAKING);
        if (isClosed(counters)) return false;
        const filled = Atomics.load(counters, FILLED);
        const part = chunk.subarray(at, at + frameBytes - offset);
        frames[slotOf(filled)]?.set(part, offset);
        at += part.length;
        offset += part.length;
        if (offset < frameBytes) continue;
        offset = 0;
        const { index, timestamp } = await nextFacts();
        facts.set([index, timestamp], 2 * slotOf(filled));
        Atomics.add(counters, FILLED, 1);
        tell(counters, NEWS_OF_FILLING);
      }
      return true;
    },
    /** Whether the last frame has come in part only. */
    isAmidFrame: () => offset > 0,
    /** Lets the other side know how many frames have been decoded so far, wanted or not. */
    countDecoded: (frames: number) => Atomics.store(counters, DECODED, frames),
    /** Says that no frame follows; also from the other side, to say that none is wanted any more. */
    close: () => closeRing(counters),
  };
}

/** The taking side. */
export function createRingReader({ slots, facts, counters }: FrameRing) {
  const frames = slots.map((slot) => new Uint8Array(slot));
  let held = false;

  return {
    /** The next frame, valid until the next call, which gives its slot back; undefined after the last one. */
    async take(): Promise<(FrameFacts & { data: Uint8Array }) | undefined> {
      if (held) {
        held = false;
        Atomics.add(counters, TAKEN, 1);
        tell(counters, NEWS_OF_TAKING);
      }
      await until(() => waiting(counters) > 0 || isClosed(counters), counters, NEWS_OF_FILLING);
      if (waiting(counters) === 0) return undefined;
      held = true;
      const slot = slotOf(Atomics.load(counters, TAKEN));
      const [index = 0, timestamp = 0] = facts.subarray(2 * slot, 2 * slot + 2);
      const data = frames[slot];
      return data && { index, timestamp, data };
    },
    /** Frames decoded so far, wanted or not. */
    decoded: () => Atomics.load(counters, DECODED),
    close: () => closeRing(counters),
  };
}

function closeRing(counters: Int32Array): void {
  Atomics.store(counters, CLOSED, 1);
  tell(counters, NEWS_OF_FILLING);
  tell(counters, NEWS_OF_TAKING);
}
