import type { FrameFacts } from './frame-ring.ts';
import { createSelector, type FrameSelection } from './frame-selection.ts';
import type { Ratio } from './video-header.ts';

/** File descriptor to which ffmpeg writes the report. */
const REPORT = 3;
const MARK = 'recognize_frame';

/**
 * Filters that write a line for every frame that passes, at once and in one piece: its number and its presentation time
 * in ticks of `timeBase`. Files may bring texts of their own along with frames, of which none is printed.
 */
export function reportFilters(timeBase: Ratio): string[] {
  return [
    `settb=${timeBase[0]}/${timeBase[1]}`,
    `metadata=add:key=${MARK}:value=1`,
    `metadata=print:key=${MARK}:file='pipe\\:${REPORT}':direct=1`,
  ];
}

const FRAME = 'frame:';
const PTS = ' pts:';

/** Follows the report: numbers the frames, replays which of them are selected, and tells when and where they come. */
export function createFrameReport(selection: FrameSelection, timeBase: Ratio) {
  const selector = createSelector(selection);
  const upcoming: FrameFacts[] = [];
  let unfinished = '';
  let decoded = 0;
  let selected = 0;
  let timestamp = 0;
  let isPastEnd = false;
  let ended = false;
  let wake: (() => void) | undefined;

  function readLine(line: string): void {
    const at = line.indexOf(PTS);
    if (at < 0 || !line.startsWith(FRAME)) return;
    const since = selector.sinceStart(Number.parseInt(line.slice(at + PTS.length), 10));
    // A frame without a time is seen together with the one before it.
    if (!Number.isNaN(since)) timestamp = (since * timeBase[0]) / timeBase[1];
    const index = decoded++;
    if (isPastEnd) return;
    isPastEnd = selector.isPast(since);
    if (!selector.takes(since)) return;
    selected++;
    upcoming.push({ index, timestamp });
    wake?.();
  }

  return {
    /** Takes in a piece of the report. */
    add(text: string): void {
      let from = 0;
      for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
        readLine(unfinished + text.slice(from, to));
        unfinished = '';
        from = to + 1;
      }
      unfinished += text.slice(from);
    },
    /** To be called once the report has ended. */
    end(): void {
      ended = true;
      wake?.();
    },
    /** The next frame to come out of the pipe; waits for the report where the pipe is faster. */
    async next(): Promise<FrameFacts> {
      for (;;) {
        const facts = upcoming.shift();
        if (facts !== undefined) return facts;
        if (ended) throw new Error('ffmpeg wrote more frames than it reported');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    decoded: () => decoded,
    selected: () => selected,
    /** Whether a frame has been seen that lies behind the last one wanted. */
    isPastEnd: () => isPastEnd,
  };
}
