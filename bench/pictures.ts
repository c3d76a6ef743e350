import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';

/** Pictures of one size, all different. */
export type PictureSet = { width: number; height: number; paths: string[] };

export type BenchPictures = {
  fullHd: PictureSet;
  vga: PictureSet;
  thumbnail: PictureSet;
  /** JPEG files of about 1 MB at 1920x1080. */
  megabyte: PictureSet;
};

const MEGABYTE = 1_000_000;
const EACH = 8;

type Pixels = { data: Buffer; width: number; height: number };

/** Real pictures beside and below each other, each at its own resolution, so that detail is that of a photo. */
async function mosaic(sources: readonly string[], width: number, height: number): Promise<Pixels> {
  const [across, down] = width > 1000 ? [3, 2] : [1, 1];
  const tileWidth = width / across;
  const tileHeight = height / down;
  const tiles = await Promise.all(
    Array.from({ length: across * down }, async (_, index) => ({
      input: await sharp(sources[index % sources.length] as string)
        .resize(tileWidth, tileHeight, { fit: 'cover', position: 'top' })
        .png({ compressionLevel: 0 })
        .toBuffer(),
      left: (index % across) * tileWidth,
      top: Math.floor(index / across) * tileHeight,
    })),
  );
  const data = await sharp({ create: { width, height, channels: 3, background: '#000' } })
    .composite(tiles)
    .removeAlpha()
    .raw()
    .toBuffer();
  return { data, width, height };
}

const jpeg = ({ data, width, height }: Pixels, quality: number) =>
  sharp(data, { raw: { width, height, channels: 3 } }).jpeg({ quality });

/** The highest quality at which the file is not larger than 1 MB. */
async function qualityForMegabyte(pixels: Pixels): Promise<number> {
  let low = 50;
  let high = 100;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const { length } = await jpeg(pixels, middle).toBuffer();
    if (length <= MEGABYTE) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Makes the pictures of the bench from the photos in `faces/images` and `coco/images` of a data folder: mosaics of six
 * at 1920x1080, single ones at 640x480 and 64x48, as JPEG of quality 85.
 *
 * @param into folder that takes them
 */
export async function makePictures(dataFolder: string, into: string): Promise<BenchPictures> {
  const photos: string[] = [];
  for (const part of ['faces', 'coco']) {
    const folder = join(dataFolder, part, 'images');
    const names = (await readdir(folder)).filter((name) => name.endsWith('.jpg')).sort();
    photos.push(...names.slice(0, 24).map((name) => join(folder, name)));
  }
  await mkdir(into, { recursive: true });

  async function make(name: string, width: number, height: number, small: boolean): Promise<PictureSet> {
    const paths: string[] = [];
    for (let index = 0; index < EACH; index++) {
      // Faces and objects in every mosaic, and no two the same.
      const sources = Array.from({ length: 6 }, (_, tile) => photos[(index * 5 + tile * 7) % photos.length] as string);
      const pixels = await mosaic(sources, width, height);
      const path = join(into, `${name}-${index}.jpg`);
      await jpeg(pixels, small ? 85 : await qualityForMegabyte(pixels)).toFile(path);
      paths.push(path);
    }
    return { width, height, paths };
  }

  return {
    fullHd: await make('full-hd', 1920, 1080, true),
    vga: await make('vga', 640, 480, true),
    thumbnail: await make('thumbnail', 64, 48, true),
    megabyte: await make('megabyte', 1920, 1080, false),
  };
}
