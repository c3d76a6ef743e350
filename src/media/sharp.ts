import sharp, { type Sharp, type SharpOptions } from 'sharp';

/** Loaders of the picture formats that are taken; SVG, PDF, CSV and whatever else libvips knows stay shut. */
const LOADERS = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Tiff', 'Heif'].flatMap((format) =>
  ['File', 'Buffer'].map((source) => `VipsForeignLoad${format}${source}`),
);

sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: LOADERS });
// Every picture is read once: libvips' operation cache would only hold memory and open files.
sharp.cache(false);
// Parallelism comes from many pictures at a time, one core each.
sharp.concurrency(1);

/**
 * Uses a picture for the last time, then drops its options, 14 KB each. Left to itself they live until all garbage is
 * collected, as all does that a writable stream of Node's holds: the function in its state's `onwrite` is assigned to a
 * property where it is made, for which V8 puts it among the old objects at once.
 */
export async function useOnce<T>(picture: Sharp, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } finally {
    Object.assign(picture, { options: undefined });
  }
}

export { type Sharp, type SharpOptions, sharp };
