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

export { type Sharp, type SharpOptions, sharp };
