import { describe, expect, it } from 'vitest';
import {
  averagePrecision,
  type Box,
  COCO_THRESHOLDS,
  judge,
  meanAveragePrecision,
  overlap,
  ratesAt,
  type Truth,
} from '../../../bench/eval/average-precision.ts';

const truth = (box: Box, flags: Partial<Truth> = {}): Truth => ({ box, crowd: false, ignore: false, ...flags });

/** Squares of ten pixels that do not touch each other. */
const square = (place: number): Box => [place * 100, 0, 10, 10];

describe('overlap', () => {
  it('is the shared area over the area of both together', () => {
    // 50 shared pixels of 150.
    expect(overlap([0, 0, 10, 10], truth([5, 0, 10, 10]))).toBeCloseTo(1 / 3, 12);
  });

  it('is the shared area over that of the detection where a crowd is meant', () => {
    expect(overlap([0, 0, 10, 10], truth([5, 0, 100, 100], { crowd: true }))).toBeCloseTo(0.5, 12);
  });

  it('is 0 where boxes only touch', () => {
    expect(overlap([0, 0, 10, 10], truth([10, 0, 10, 10]))).toBe(0);
  });
});

describe('averagePrecision', () => {
  it('is 1 where everything is found and nothing else', () => {
    const samples = [{ truths: [truth(square(0))], found: [{ box: square(0), score: 0.2 }] }];
    expect(averagePrecision(samples, 0.95)).toBe(1);
  });

  it('averages the best precision at 101 recalls', () => {
    const samples = [
      {
        truths: [truth(square(0)), truth(square(1))],
        found: [
          { box: square(0), score: 0.9 },
          { box: square(5), score: 0.8 },
          { box: square(1), score: 0.7 },
        ],
      },
    ];
    // Precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: one for the recalls 0 to 0.50, two thirds for 0.51 to 1.
    expect(averagePrecision(samples, 0.5)).toBeCloseTo((51 + 50 * (2 / 3)) / 101, 12);
  });

  it('ranks the detections of all pictures together', () => {
    const samples = [
      { truths: [], found: [{ box: square(0), score: 0.9 }] },
      { truths: [truth(square(0))], found: [{ box: square(0), score: 0.8 }] },
    ];
    expect(averagePrecision(samples, 0.5)).toBeCloseTo(0.5, 12);
  });

  it('gives nothing for recalls that are not reached', () => {
    const samples = [
      { truths: [0, 1, 2, 3].map((place) => truth(square(place))), found: [{ box: square(2), score: 0.5 }] },
    ];
    expect(averagePrecision(samples, 0.5)).toBeCloseTo(26 / 101, 12);
  });

  it('counts the second detection of one thing as false', () => {
    const twice = [
      { box: square(0), score: 0.9 },
      { box: square(0), score: 0.8 },
      { box: square(1), score: 0.7 },
    ];
    const samples = [{ truths: [truth(square(0)), truth(square(1))], found: twice }];
    expect(judge(samples[0] ?? { truths: [], found: [] }, 0.5).map(({ verdict }) => verdict)).toEqual([
      'hit',
      'false',
      'hit',
    ]);
    expect(averagePrecision(samples, 0.5)).toBeCloseTo((51 + 50 * (2 / 3)) / 101, 12);
  });

  it('looks at the best hundred detections of a picture', () => {
    const wrong = Array.from({ length: 100 }, (_, index) => ({ box: square(index + 1), score: 0.9 }));
    const samples = [{ truths: [truth(square(0))], found: [{ box: square(0), score: 0.1 }, ...wrong] }];
    expect(averagePrecision(samples, 0.5)).toBe(0);
    expect(
      averagePrecision(
        [{ truths: [truth(square(0))], found: [{ box: square(0), score: 0.1 }, ...wrong.slice(1)] }],
        0.5,
      ),
    ).toBeCloseTo(0.01, 12);
  });

  it('is undefined where nothing is there to be found', () => {
    const ignored = [truth(square(0), { ignore: true }), truth(square(1), { crowd: true })];
    expect(averagePrecision([{ truths: ignored, found: [{ box: square(5), score: 1 }] }], 0.5)).toBeUndefined();
  });
});

describe('what is to be ignored', () => {
  it('neither rewards a detection nor counts as missed', () => {
    const truths = [truth(square(0)), truth(square(1), { ignore: true }), truth(square(2), { ignore: true })];
    const found = [
      { box: square(1), score: 0.9 },
      { box: square(1), score: 0.8 },
      { box: square(0), score: 0.7 },
    ];
    expect(averagePrecision([{ truths, found }], 0.5)).toBe(1);
    expect(ratesAt([{ truths, found }], 0.5)).toEqual({
      hits: 1,
      false_positives: 0,
      truths: 1,
      recall: 1,
      precision: 1,
    });
  });

  it('takes any number of detections inside a crowd', () => {
    const truths = [truth([0, 0, 1000, 1000], { crowd: true })];
    const found = [0, 1, 2].map((place) => ({ box: square(place), score: 0.5 }));
    expect(judge({ truths, found }, 0.95).map(({ verdict }) => verdict)).toEqual(['ignored', 'ignored', 'ignored']);
  });

  it('is taken only where nothing that counts overlaps enough', () => {
    // IoU 0.6 with what counts, 1 with what is to be ignored.
    const truths = [truth([0, 0, 10, 10], { ignore: true }), truth([0, 0, 10, 6])];
    const sample = { truths, found: [{ box: [0, 0, 10, 10] as const, score: 0.9 }] };
    expect(judge(sample, 0.5)).toEqual([{ score: 0.9, verdict: 'hit' }]);
    expect(judge(sample, 0.7)).toEqual([{ score: 0.9, verdict: 'ignored' }]);
  });
});

describe('meanAveragePrecision', () => {
  it('averages over the thresholds 0.50 to 0.95', () => {
    expect(COCO_THRESHOLDS.map((threshold) => threshold.toFixed(2))).toEqual(
      '0.50 0.55 0.60 0.65 0.70 0.75 0.80 0.85 0.90 0.95'.split(' '),
    );
    // IoU 0.82: good enough for seven of the ten.
    const samples = [{ truths: [truth([0, 0, 10, 10])], found: [{ box: [0, 0, 10, 8.2] as const, score: 0.9 }] }];
    expect(meanAveragePrecision([samples], COCO_THRESHOLDS)).toBeCloseTo(0.7, 12);
  });

  it('averages over the classes of which something is there', () => {
    const perfect = [{ truths: [truth(square(0))], found: [{ box: square(0), score: 0.9 }] }];
    const missed = [{ truths: [truth(square(0))], found: [] }];
    const absent = [{ truths: [], found: [{ box: square(0), score: 0.9 }] }];
    expect(meanAveragePrecision([perfect, missed, absent], [0.5])).toBe(0.5);
  });
});

describe('ratesAt', () => {
  it('counts hits, false detections and what was missed', () => {
    const samples = [
      {
        truths: [truth(square(0)), truth(square(1))],
        found: [
          { box: square(0), score: 0.9 },
          { box: square(7), score: 0.9 },
        ],
      },
      {
        truths: [truth(square(0)), truth(square(1))],
        found: [
          { box: square(0), score: 0.6 },
          { box: square(1), score: 0.6 },
        ],
      },
    ];
    expect(ratesAt(samples, 0.4)).toEqual({ hits: 3, false_positives: 1, truths: 4, recall: 0.75, precision: 0.75 });
  });
});
