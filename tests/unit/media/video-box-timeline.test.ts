import { expect, test } from 'vitest';
import { createBoxTimeline, type FrameBoxes, type TrackedBox } from '../../../src/media/box-timeline.ts';

const box = (x: number, trackId?: number): TrackedBox => ({
  bbox: { x, y: 2 * x, width: 10 + x, height: 20 },
  text: `thing at ${x}`,
  group: 1,
  ...(trackId === undefined ? {} : { trackId }),
});

/** What each of the first `count` frames shows. */
async function shown(every: number, count: number, analysed: readonly FrameBoxes[]) {
  const timeline = createBoxTimeline(every);
  for (const frame of analysed) timeline.add(frame);
  timeline.end();
  const frames: (readonly TrackedBox[])[] = [];
  for (let index = 0; index < count; index++) {
    await timeline.reach(index);
    frames.push(timeline.boxesAt(index));
  }
  return frames;
}

test('a box stays until the next analysed frame and goes where that has none', async () => {
  const [lost, found] = [box(1), box(30)];
  const frames = await shown(3, 12, [
    { index: 0, boxes: [lost] },
    { index: 3, boxes: [] },
    { index: 6, boxes: [found] },
  ]);
  expect(frames.map((boxes) => boxes.map(({ text }) => text).join())).toEqual([
    ...Array(3).fill('thing at 1'),
    ...Array(3).fill(''),
    ...Array(3).fill('thing at 30'),
    ...Array(3).fill(''),
  ]);
});

test('analysed frames without boxes may be left out', async () => {
  const frames = await shown(2, 8, [
    { index: 2, boxes: [box(1, 7)] },
    { index: 6, boxes: [box(5, 7)] },
  ]);
  expect(frames.map((boxes) => boxes[0]?.bbox.x)).toEqual([undefined, undefined, 1, 1, undefined, undefined, 5, 5]);
});

test('the same track moves there in a straight line, other boxes stay', async () => {
  const frames = await shown(4, 5, [
    { index: 0, boxes: [box(0, 1), box(100), box(200, 2)] },
    { index: 4, boxes: [box(8, 1), box(108), box(208, 3)] },
  ]);
  expect(frames.map((boxes) => boxes.map(({ bbox }) => bbox.x))).toEqual([
    [0, 100, 200],
    [2, 100, 200],
    [4, 100, 200],
    [6, 100, 200],
    [8, 108, 208],
  ]);
  expect(frames[2]?.[0]?.bbox).toEqual({ x: 4, y: 8, width: 14, height: 20 });
  expect(frames[1]?.[0]?.text).toBe('thing at 0');
});

test('points move with their box', async () => {
  const [from, to] = [
    { ...box(0, 1), points: [{ x: 10, y: 20 }] },
    { ...box(8, 1), points: [{ x: 30, y: 0 }] },
  ];
  const frames = await shown(2, 2, [
    { index: 0, boxes: [from] },
    { index: 2, boxes: [to] },
  ]);
  expect(frames[1]?.[0]?.points).toEqual([{ x: 20, y: 10 }]);
});

test('where nothing changes, the boxes are the same array', async () => {
  const frames = await shown(3, 3, [
    { index: 0, boxes: [box(1)] },
    { index: 3, boxes: [box(2)] },
  ]);
  expect(frames[1]).toBe(frames[0]);
  expect(frames[2]).toBe(frames[0]);
});

test('a frame waits until it is known what the next analysed one shows', async () => {
  const timeline = createBoxTimeline(2);
  timeline.add({ index: 0, boxes: [box(0, 1)] });
  let isKnown = false;
  const reached = timeline.reach(1).then(() => {
    isKnown = true;
  });
  await Promise.resolve();
  expect(isKnown).toBe(false);
  timeline.add({ index: 2, boxes: [box(10, 1)] });
  await reached;
  expect(timeline.boxesAt(1)[0]?.bbox.x).toBe(5);
  expect(timeline.reached()).toBe(1);
});

test('frames before the first analysed one show nothing', async () => {
  const frames = await shown(5, 3, [{ index: 2, boxes: [box(1)] }]);
  expect(frames.map((boxes) => boxes.length)).toEqual([0, 0, 1]);
});
