import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { countPointHits } from '../../../bench/eval/faces.ts';
import { readLabels } from '../../../bench/eval/labels.ts';
import { samplesByClass } from '../../../bench/eval/objects.ts';
import { tempDir } from '../../support/temp.ts';

function dataFolder(files: Record<string, unknown>): string {
  const folder = tempDir('labels');
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), JSON.stringify(content));
  }
  return folder;
}

const INSTANCES = {
  images: [
    { id: 7, file_name: 'a.jpg' },
    { id: 8, file_name: 'b.jpg' },
  ],
  categories: [
    { id: 1, name: 'person' },
    { id: 90, name: 'toothbrush' },
  ],
  annotations: [
    { image_id: 8, category_id: 90, bbox: [1, 2, 3, 4], iscrowd: 0 },
    { image_id: 8, category_id: 1, bbox: [5, 6, 7, 8], iscrowd: 1 },
    { image_id: 8, category_id: 1, bbox: [9, 9, 9, 9] },
  ],
};

describe('readLabels', () => {
  it('leaves out what the folder does not have', async () => {
    expect(await readLabels(tempDir('labels'))).toEqual({
      faces: undefined,
      faceless: undefined,
      points: undefined,
      objects: undefined,
      persons: undefined,
    });
  });

  it('assigns boxes to pictures and to the names of their classes', async () => {
    const folder = dataFolder({ 'coco/instances.json': INSTANCES });
    const { objects } = await readLabels(folder);
    expect(objects?.classes).toEqual(['person', 'toothbrush']);
    const [a, b] = objects?.pictures ?? [];
    expect(a).toEqual({ path: join(folder, 'coco/images/a.jpg'), truths: new Map() });
    expect(b?.truths).toEqual(
      new Map([
        ['toothbrush', [{ box: [1, 2, 3, 4], crowd: false, ignore: false }]],
        [
          'person',
          [
            { box: [5, 6, 7, 8], crowd: true, ignore: false },
            { box: [9, 9, 9, 9], crowd: false, ignore: false },
          ],
        ],
      ]),
    );
  });

  it('refuses boxes of a class that is not listed', async () => {
    const folder = dataFolder({
      'faces/faces.json': { ...INSTANCES, annotations: [{ image_id: 7, category_id: 2, bbox: [0, 0, 1, 1] }] },
    });
    await expect(readLabels(folder)).rejects.toThrow('names a class or picture it does not have');
  });

  it('finds the pictures without a face beside those of objects', async () => {
    const folder = dataFolder({ 'faces/without-faces.json': { all: ['x.jpg'] } });
    expect((await readLabels(folder)).faceless).toEqual([join(folder, 'coco/images/x.jpg')]);
  });
});

describe('samplesByClass', () => {
  it('looks at each class alone and drops labels that the set does not know', async () => {
    const { objects } = await readLabels(dataFolder({ 'coco/instances.json': INSTANCES }));
    if (objects === undefined) throw new Error('nothing was read');
    const [, b] = objects.pictures;
    const person = { label: 'person', score: 0.9, box: [9, 9, 9, 9] as const };
    const detections = new Map([[b?.path ?? '', [person, { ...person, label: 'unicorn' }]]]);
    const [persons, toothbrushes] = samplesByClass(objects, detections);
    expect(persons?.map(({ truths, found }) => [truths.length, found])).toEqual([
      [0, []],
      [2, [person]],
    ]);
    expect(toothbrushes?.map(({ truths, found }) => [truths.length, found])).toEqual([
      [0, []],
      [1, []],
    ]);
  });
});

describe('countPointHits', () => {
  const face = (x: number) => ({ label: 'face', score: 1, box: [x, 0, 10, 10] as const });

  it('takes each box for one face and each face once', () => {
    const pictures = [
      { path: 'two faces in one box', points: [[2, 5] as const, [8, 5] as const] },
      { path: 'one face in two boxes', points: [[5, 5] as const] },
      { path: 'a face on the edge', points: [[10, 10] as const] },
      { path: 'no face', points: [] },
    ];
    const detections = new Map([
      ['two faces in one box', [face(0)]],
      ['one face in two boxes', [face(0), face(1)]],
      ['a face on the edge', [face(0)]],
      ['no face', [face(0)]],
    ]);
    expect(countPointHits(pictures, detections)).toEqual({ faces: 4, hits: 3, false: 2 });
  });
});
