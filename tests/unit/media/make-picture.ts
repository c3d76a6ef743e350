import { crc32, deflateSync } from 'node:zlib';

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

export const PNG_COLOUR = { grey: 0, rgb: 2, palette: 3, greyAlpha: 4, rgba: 6 } as const;

type PngParts = {
  width: number;
  height: number;
  bits: 1 | 8 | 16;
  colour: keyof typeof PNG_COLOUR;
  /** Bytes of each row. */
  rows: readonly (readonly number[])[];
  palette?: readonly number[];
  transparency?: readonly number[];
};

/** A PNG file by the letter of its specification, so that pixels are known without any library. */
export function makePng({ width, height, bits, colour, rows, palette, transparency }: PngParts): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = bits;
  header[9] = PNG_COLOUR[colour];
  const NO_FILTER = 0;
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    ...(palette === undefined ? [] : [chunk('PLTE', Uint8Array.from(palette))]),
    ...(transparency === undefined ? [] : [chunk('tRNS', Uint8Array.from(transparency))]),
    chunk('IDAT', deflateSync(Uint8Array.from(rows.flatMap((row) => [NO_FILTER, ...row])))),
    chunk('IEND', new Uint8Array()),
  ]);
}

type BmpParts = {
  /** Colours as they are seen, from the top left: red, green, blue. */
  pixels: readonly (readonly [number, number, number])[];
  width: number;
  height: number;
  infoHeaderBytes?: number;
  topDown?: boolean;
  bitsPerPixel?: 24 | 32;
};

/** A BMP file of 24 or 32 bits by the letter of its specification. */
export function makeBmp(parts: BmpParts): Buffer {
  const { pixels, width, height, infoHeaderBytes = 40, topDown = false, bitsPerPixel = 24 } = parts;
  const info = Buffer.alloc(infoHeaderBytes);
  info.writeUInt32LE(infoHeaderBytes, 0);
  if (infoHeaderBytes === 12) {
    info.writeUInt16LE(width, 4);
    info.writeUInt16LE(height, 6);
    info.writeUInt16LE(1, 8);
    info.writeUInt16LE(bitsPerPixel, 10);
  } else {
    info.writeInt32LE(width, 4);
    info.writeInt32LE(topDown ? -height : height, 8);
    info.writeUInt16LE(1, 12);
    info.writeUInt16LE(bitsPerPixel, 14);
  }
  const stride = Math.ceil((width * bitsPerPixel) / 32) * 4;
  const data = Buffer.alloc(stride * height);
  pixels.forEach(([red, green, blue], index) => {
    const row = Math.floor(index / width);
    const at = (topDown ? row : height - 1 - row) * stride + (index % width) * (bitsPerPixel / 8);
    data.set([blue, green, red], at);
  });
  const file = Buffer.alloc(14);
  file.write('BM', 'latin1');
  file.writeUInt32LE(14 + infoHeaderBytes + data.length, 2);
  file.writeUInt32LE(14 + infoHeaderBytes, 10);
  return Buffer.concat([file, info, data]);
}
