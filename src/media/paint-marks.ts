import type { Colour } from './annotation-colours.ts';
import type { Area, Mark, TextMark } from './annotation-marks.ts';
import { GLYPH_ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, glyphOf } from './font.ts';

export type Fill = (area: Area) => void;

/**
 * Paints marks into a window of the picture, each over those before it.
 *
 * @returns RGBA pixels of the window, 8 bits a channel, row by row; transparent where no mark is
 */
export function paintMarks(marks: readonly Mark[], window: Area): Uint8Array {
  const width = window.right - window.left;
  const height = window.bottom - window.top;
  const pixels = new Uint32Array(width * height);
  for (const mark of marks) {
    const pixel = packed(mark.colour);
    const fill: Fill = (area) => {
      const left = Math.max(area.left - window.left, 0);
      const right = Math.min(area.right - window.left, width);
      if (right <= left) return;
      const bottom = Math.min(area.bottom - window.top, height);
      for (let y = Math.max(area.top - window.top, 0); y < bottom; y++) {
        pixels.fill(pixel, y * width + left, y * width + right);
      }
    };
    fillMark(mark, window, fill);
  }
  return new Uint8Array(pixels.buffer);
}

/** Fills all of a mark that may lie in the window, area by area. */
export function fillMark(mark: Mark, window: Area, fill: Fill): void {
  if (mark.shape === 'text') fillText(mark, window, fill);
  else if (mark.shape === 'disc') fillDisc(mark, fill);
  else fill(mark);
}

/** Four bytes as one number in the byte order of this machine, so that a row of pixels is one fill. */
function packed([red, green, blue]: Colour): number {
  return new Uint32Array(Uint8Array.of(red, green, blue, 255).buffer)[0] ?? 0;
}

function fillDisc(disc: Area, fill: Fill): void {
  const radius = (disc.right - disc.left) / 2;
  const centre = disc.left + Math.floor(radius);
  for (let top = disc.top; top < disc.bottom; top++) {
    const offset = top + 0.5 - disc.top - radius;
    const half = Math.round(Math.sqrt(Math.max(0, radius ** 2 - offset ** 2)) - 0.5);
    fill({ left: centre - half, top, right: centre + half + 1, bottom: top + 1 });
  }
}

function fillText(mark: TextMark, window: Area, fill: Fill): void {
  const { scale } = mark;
  let left = mark.left;
  for (const character of mark.text) {
    if (left < window.right && left + GLYPH_WIDTH * scale > window.left) {
      const rows = glyphOf(character);
      for (let row = 0; row < GLYPH_HEIGHT; row++)
        fillGlyphRow(rows[row] ?? 0, left, mark.top + row * scale, scale, fill);
    }
    left += GLYPH_ADVANCE * scale;
  }
}

function fillGlyphRow(bits: number, left: number, top: number, scale: number, fill: Fill): void {
  for (let start = 0; start < GLYPH_WIDTH; start++) {
    if (!isSet(bits, start)) continue;
    let end = start + 1;
    while (end < GLYPH_WIDTH && isSet(bits, end)) end++;
    fill({ left: left + start * scale, top, right: left + end * scale, bottom: top + scale });
    start = end;
  }
}

function isSet(bits: number, column: number): boolean {
  return ((bits >> (GLYPH_WIDTH - 1 - column)) & 1) === 1;
}
