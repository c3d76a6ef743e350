import { expect, test } from 'vitest';
import { createDecodingErrors } from '../../../src/media/decoding-errors.ts';

test('keeps the last error, in whatever pieces it comes', () => {
  const errors = createDecodingErrors('mov');
  errors.add('[h264 @ 0x1] Invalid NAL unit size\n[mov @ 0x2] stream 0, partial', true);
  expect(errors.last()).toBe('[h264 @ 0x1] Invalid NAL unit size');
  errors.add(' file\n', true);
  expect(errors.last()).toBe('[mov @ 0x2] stream 0, partial file');
});

test('what decoders say at cuts does not count', () => {
  const errors = createDecodingErrors('matroska');
  errors.add('[h264 @ 0x1] co located POCs unavailable\n[h264 @ 0x1] mmco: unref short failure\n', true);
  errors.add('[hevc @ 0x1] Could not find ref with POC 12\n\n', true);
  expect(errors.last()).toBeUndefined();
});

test('what comes before the first frame of a broadcast does not count, elsewhere it does', () => {
  const said = '[h264 @ 0x1] non-existing PPS 0 referenced\n';
  const [broadcast, film] = [createDecodingErrors('mpegts'), createDecodingErrors('mov')];
  broadcast.add(said, false);
  film.add(said, false);
  expect(broadcast.last()).toBeUndefined();
  expect(film.last()).toBe(said.trim());
  broadcast.add(said, true);
  expect(broadcast.last()).toBe(said.trim());
});
