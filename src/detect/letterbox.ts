import type { Frame, Size } from './detector.ts';

/** How a model wants its pixels. */
export type Preprocessing = {
  order: 'rgb' | 'bgr';
  /** What each 8-bit value is turned into. */
  scale(value: number): number;
  /** 8-bit value around the picture. */
  padding: number;
  /** Where in a larger input the picture lies. */
  placement: 'corner' | 'centre';
};

/** Pixels between the input's top left corner and the picture's. */
export type Offset = { left: number; top: number };

/**
 * The largest size of a picture's own aspect ratio that fits into a box; enlarges too.
 * Each side is rounded to the nearest pixel and is at least 1.
 */
export function fitWithin(picture: Size, box: Size): Size {
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  return {
    width: Math.min(box.width, Math.max(1, Math.round(picture.width * scale))),
    height: Math.min(box.height, Math.max(1, Math.round(picture.height * scale))),
  };
}

/** Where a frame lies in an input; of an odd remainder the larger half is at the right and the bottom. */
export function offsetOf(frame: Size, input: Size, placement: Preprocessing['placement']): Offset {
  if (placement === 'corner') return { left: 0, top: 0 };
  return { left: Math.floor((input.width - frame.width) / 2), top: Math.floor((input.height - frame.height) / 2) };
}

/** What each 8-bit value becomes, in the type of the tensor (half precision as its bits). */
export function valueTable(scale: (value: number) => number, half: boolean): Float32Array | Uint16Array {
  const values = Float32Array.from({ length: 256 }, (_, value) => scale(value));
  if (!half) return values;
  const view = new DataView(new ArrayBuffer(2));
  return Uint16Array.from(values, (value) => {
    view.setFloat16(0, value);
    return view.getUint16(0);
  });
}

/**
 * Writes a frame into planes of a tensor (CHW) in one pass over its pixels.
 *
 * @param tensor three planes of input.width x input.height values
 * @param table what each 8-bit value becomes
 */
export function fillPicture(
  tensor: Float32Array | Uint16Array,
  input: Size,
  frame: Frame,
  offset: Offset,
  order: Preprocessing['order'],
  table: Float32Array | Uint16Array,
): void {
  const plane = input.width * input.height;
  const red = order === 'rgb' ? 0 : 2 * plane;
  const blue = 2 * plane - red;
  const pixels = frame.data;
  let from = 0;
  for (let y = 0; y < frame.height; y++) {
    const start = (y + offset.top) * input.width + offset.left;
    const end = start + frame.width;
    for (let to = start; to < end; to++) {
      tensor[to + red] = table[pixels[from] as number] as number;
      tensor[to + plane] = table[pixels[from + 1] as number] as number;
      tensor[to + blue] = table[pixels[from + 2] as number] as number;
      from += 3;
    }
  }
}

/** Writes the padding around a frame into all three planes. */
export function fillPadding(
  tensor: Float32Array | Uint16Array,
  input: Size,
  frame: Size,
  offset: Offset,
  value: number,
): void {
  const plane = input.width * input.height;
  for (let base = 0; base < 3 * plane; base += plane) {
    const firstRow = base + offset.top * input.width;
    tensor.fill(value, base, firstRow);
    for (let y = 0; y < frame.height; y++) {
      const row = firstRow + y * input.width;
      tensor.fill(value, row, row + offset.left);
      tensor.fill(value, row + offset.left + frame.width, row + input.width);
    }
    tensor.fill(value, firstRow + frame.height * input.width, base + plane);
  }
}
