import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Truth } from './average-precision.ts';

const Instances = z.object({
  images: z.array(z.object({ id: z.number(), file_name: z.string() })),
  categories: z.array(z.object({ id: z.number(), name: z.string() })),
  annotations: z.array(
    z.object({
      image_id: z.number(),
      category_id: z.number(),
      bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]),
      iscrowd: z.number().default(0),
      ignore: z.number().default(0),
    }),
  ),
});

const FacelessPictures = z.object({ all: z.array(z.string()) });
const PointLabels = z.object({ images: z.record(z.string(), z.array(z.tuple([z.number(), z.number()]))) });

/** A picture with what is to be found in it. */
export type LabelledPicture = {
  path: string;
  /** By the name of the class; a class that is missing has nothing in this picture. */
  truths: ReadonlyMap<string, readonly Truth[]>;
};

export type LabelledSet = { pictures: LabelledPicture[]; classes: string[] };

export type PointPicture = { path: string; points: (readonly [x: number, y: number])[] };

/** The labelled pictures of a data folder; a part whose file is missing is undefined. */
export type Labels = {
  faces: LabelledSet | undefined;
  faceless: string[] | undefined;
  points: PointPicture[] | undefined;
  objects: LabelledSet | undefined;
  persons: LabelledSet | undefined;
};

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  return existsSync(path) ? schema.parse(JSON.parse(await readFile(path, 'utf8'))) : undefined;
}

async function readInstances(folder: string, file: string): Promise<LabelledSet | undefined> {
  const labels = await readJson(join(folder, file), Instances);
  if (labels === undefined) return undefined;
  const names = new Map(labels.categories.map(({ id, name }) => [id, name]));
  const byPicture = new Map(labels.images.map(({ id }) => [id, new Map<string, Truth[]>()]));
  for (const { image_id, category_id, bbox, iscrowd, ignore } of labels.annotations) {
    const name = names.get(category_id);
    const truths = byPicture.get(image_id);
    if (name === undefined || truths === undefined)
      throw new Error(`${file} names a class or picture it does not have`);
    const truth = { box: bbox, crowd: iscrowd === 1, ignore: ignore === 1 };
    truths.set(name, [...(truths.get(name) ?? []), truth]);
  }
  return {
    classes: [...names.values()],
    pictures: labels.images.map(({ id, file_name }) => ({
      path: join(folder, 'images', file_name),
      truths: byPicture.get(id) ?? new Map(),
    })),
  };
}

/**
 * Reads what a data folder has of `faces/faces.json`, `faces/without-faces.json` (pictures of `coco/images`),
 * `faces-points/points.json`, `coco/instances.json` and `coco-val-person/person_keypoints.json`: COCO's format, with
 * the pictures in `images/` beside each file.
 */
export async function readLabels(folder: string): Promise<Labels> {
  const coco = join(folder, 'coco');
  const pointsFolder = join(folder, 'faces-points');
  const [faces, faceless, points, objects, persons] = await Promise.all([
    readInstances(join(folder, 'faces'), 'faces.json'),
    readJson(join(folder, 'faces', 'without-faces.json'), FacelessPictures),
    readJson(join(pointsFolder, 'points.json'), PointLabels),
    readInstances(coco, 'instances.json'),
    readInstances(join(folder, 'coco-val-person'), 'person_keypoints.json'),
  ]);
  return {
    faces,
    faceless: faceless?.all.map((name) => join(coco, 'images', name)),
    points:
      points &&
      Object.entries(points.images).map(([name, at]) => ({ path: join(pointsFolder, 'images', name), points: at })),
    objects,
    persons,
  };
}
