/**
 * What decoders say of pictures that refer to ones from before a cut: these come out all the same, as they do in every
 * player.
 */
const OF_CUTS = /co located POCs unavailable|mmco: unref|[Rr]eference picture missing|Could not find ref with POC/;

/** Recordings of broadcasts mostly begin between two key frames; what cannot be decoded before the first frame is not missed. */
const BROADCAST = new Set(['mpegts', 'mpeg']);

/** Collects what ffmpeg says at `-loglevel error` while it decodes, and keeps the last of it that counts. */
export function createDecodingErrors(demuxer: string) {
  const forgivesStart = BROADCAST.has(demuxer);
  let unfinished = '';
  let last: string | undefined;
  return {
    add(text: string, hasBegun: boolean): void {
      const lines = (unfinished + text).split('\n');
      unfinished = (lines.pop() ?? '').slice(-1000);
      if (forgivesStart && !hasBegun) return;
      last = lines.findLast((line) => line.trim() !== '' && !OF_CUTS.test(line)) ?? last;
    },
    last: () => last,
  };
}
