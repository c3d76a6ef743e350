export type Colour = readonly [red: number, green: number, blue: number];

/**
 * Twenty bright colours, each chosen as far as possible from those before it (distance in OKLab, lightness between
 * 0.55 and 0.92), so that the first few, which most pictures need, differ most.
 */
const PALETTE: readonly Colour[] = [
  [0x22, 0xdd, 0x55],
  [0x99, 0x00, 0xff],
  [0xff, 0x44, 0x00],
  [0xff, 0xbb, 0xff],
  [0x00, 0x99, 0xcc],
  [0x33, 0x88, 0x00],
  [0xff, 0x33, 0xcc],
  [0xff, 0xbb, 0x33],
  [0x66, 0xff, 0xff],
  [0xaa, 0x55, 0x88],
  [0xaa, 0x88, 0xff],
  [0xbb, 0x88, 0x00],
  [0x00, 0x66, 0xff],
  [0xff, 0x88, 0x99],
  [0x44, 0xcc, 0xbb],
  [0xaa, 0xff, 0x88],
  [0xbb, 0x11, 0xbb],
  [0x88, 0xbb, 0xff],
  [0xdd, 0x00, 0x55],
  [0x66, 0x66, 0xbb],
];

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

/** Colour of the boxes of a group; groups beyond the palette begin anew. */
export function groupColour(group: number): Colour {
  return PALETTE[Math.abs(Math.trunc(group)) % PALETTE.length] ?? WHITE;
}

/** Black or white, whichever is the easier to read on `background` (contrast ratio of WCAG 2). */
export function textColourOn(background: Colour): Colour {
  const [red, green, blue] = background.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) ? BLACK : WHITE;
}
