import type { Size } from '../detect/detector.ts';
import type { Colour } from './annotation-colours.ts';
import type { Area, Mark } from './annotation-marks.ts';
import { fillMark } from './paint-marks.ts';

/** Weights of red and blue in luma, by the matrix that a video uses (ITU-R BT.601, BT.709, BT.2020). */
const LUMA_WEIGHTS = { bt601: [0.299, 0.114], bt709: [0.2126, 0.0722], bt2020: [0.2627, 0.0593] } as const;

export type ColourMatrix = keyof typeof LUMA_WEIGHTS;

/** Luma and the two chroma values of a colour, 8 bits, limited range. */
export function toYuv([red, green, blue]: Colour, matrix: ColourMatrix): [y: number, u: number, v: number] {
  const [redWeight, blueWeight] = LUMA_WEIGHTS[matrix];
  const luma = (redWeight * red + (1 - redWeight - blueWeight) * green + blueWeight * blue) / 255;
  const chroma = (value: number, weight: number) => 128 + (224 * (value / 255 - luma)) / (2 * (1 - weight));
  return [Math.round(16 + 219 * luma), Math.round(chroma(blue, blueWeight)), Math.round(chroma(red, redWeight))];
}

type Plane = { start: number; width: number; height: number; subsampling: 1 | 2 };

/**
 * Paints marks into pictures of planar YUV 4:2:0 (limited range, even size) that pass in pieces.
 *
 * @returns a function that paints into `bytes`, which lie at `offset` in the picture; later marks cover earlier ones
 */
export function createPlanePainter(size: Size, matrix: ColourMatrix) {
  const { width, height } = size;
  const luma: Plane = { start: 0, width, height, subsampling: 1 };
  const chroma = { width: width / 2, height: height / 2, subsampling: 2 } as const;
  const planes: Plane[] = [
    luma,
    { ...chroma, start: width * height },
    { ...chroma, start: width * height + chroma.width * chroma.height },
  ];
  const window: Area = { left: 0, top: 0, right: width, bottom: height };

  /** Paints what of a plane lies in the piece. */
  function paintPlane(
    plane: Plane,
    component: number,
    marks: readonly Mark[],
    bytes: Uint8Array,
    offset: number,
  ): void {
    const { start, subsampling } = plane;
    const firstRow = Math.max(0, Math.floor((offset - start) / plane.width));
    const endRow = Math.min(plane.height, Math.ceil((offset + bytes.length - start) / plane.width));
    for (const mark of marks) {
      if (mark.top >= endRow * subsampling || mark.bottom <= firstRow * subsampling) continue;
      const value = toYuv(mark.colour, matrix)[component] ?? 0;
      fillMark(mark, window, (area) => {
        const left = Math.floor(Math.max(0, area.left) / subsampling);
        const right = Math.min(plane.width, Math.ceil(area.right / subsampling));
        if (left >= right) return;
        const top = Math.max(firstRow, Math.floor(area.top / subsampling));
        const bottom = Math.min(endRow, Math.ceil(area.bottom / subsampling));
        for (let row = top; row < bottom; row++) {
          const at = start + row * plane.width - offset;
          bytes.fill(value, Math.max(0, at + left), Math.max(0, at + right));
        }
      });
    }
  }

  return (marks: readonly Mark[], bytes: Uint8Array, offset: number): void => {
    for (const [component, plane] of planes.entries()) {
      const end = plane.start + plane.width * plane.height;
      if (offset < end && offset + bytes.length > plane.start) paintPlane(plane, component, marks, bytes, offset);
    }
  };
}
