import { expect, test } from 'vitest';
import { createFrameReport } from '../../../src/media/frame-report.ts';

const ALL = { first: undefined, last: undefined, every: 1 };
const line = (frame: number, pts: number | string) =>
  `frame:${frame}    pts:${pts}     pts_time:1\nrecognize_frame=1\n`;

test('numbers frames and gives their times from the first one, in whatever pieces the report comes', async () => {
  const text = line(0, 5000) + line(1, 5040) + line(2, 5100);
  for (const size of [1, 7, 1000]) {
    const report = createFrameReport(ALL, [1, 1000]);
    for (let at = 0; at < text.length; at += size) report.add(text.slice(at, at + size));
    expect([await report.next(), await report.next(), await report.next()]).toEqual([
      { index: 0, timestamp: 0 },
      { index: 1, timestamp: 0.04 },
      { index: 2, timestamp: 0.1 },
    ]);
    expect(report.decoded()).toBe(3);
  }
});

test('tells of the selected frames only, with their numbers in the whole file', async () => {
  const report = createFrameReport({ first: 10, last: 40, every: 2 }, [1, 10]);
  for (let n = 0; n < 8; n++) report.add(line(n, n * 10));
  expect([await report.next(), await report.next()]).toEqual([
    { index: 1, timestamp: 1 },
    { index: 3, timestamp: 3 },
  ]);
  expect(report.selected()).toBe(2);
  expect(report.decoded()).toBe(8);
  expect(report.isPastEnd()).toBe(true);
});

test('a frame without a time is seen with the one before it', async () => {
  const report = createFrameReport(ALL, [1, 1]);
  report.add(line(0, 'NOPTS') + line(1, 7) + line(2, 'NOPTS') + line(3, 9));
  const times = [await report.next(), await report.next(), await report.next(), await report.next()];
  expect(times.map(({ timestamp }) => timestamp)).toEqual([0, 0, 0, 2]);
});

test('waits for the report where frames come out faster', async () => {
  const report = createFrameReport(ALL, [1, 1]);
  const next = report.next();
  report.add('recognize_frame=1\nframe:0 pts:');
  report.add('3 pts_time:3\n');
  expect(await next).toEqual({ index: 0, timestamp: 0 });
});

test('fails rather than waits for frames that nobody has told of', async () => {
  const report = createFrameReport(ALL, [1, 1]);
  const next = report.next();
  report.end();
  await expect(next).rejects.toThrow('more frames than it reported');
});
