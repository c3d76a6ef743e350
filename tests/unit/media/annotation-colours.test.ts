import { expect, test } from 'vitest';
import { type Colour, groupColour, textColourOn } from '../../../src/media/annotation-colours.ts';

/** Relative luminance as WCAG 2 defines it. */
function luminance(colour: Colour): number {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}

const groups = Array.from({ length: 20 }, (_, group) => group);

test('twenty groups have twenty colours, then they begin anew', () => {
  expect(new Set(groups.map((group) => groupColour(group).join())).size).toBe(20);
  expect(groupColour(20)).toEqual(groupColour(0));
  expect(groupColour(-3)).toEqual(groupColour(3));
});

test('no two colours are close to each other', () => {
  for (const one of groups) {
    for (const other of groups.slice(one + 1)) {
      const distance = Math.hypot(...groupColour(one).map((value, index) => value - (groupColour(other)[index] ?? 0)));
      expect(distance, `${one} and ${other}`).toBeGreaterThan(50);
    }
  }
});

test('text has a contrast of 4.5 at least', () => {
  for (const group of groups) {
    const background = groupColour(group);
    const [dark, light] = [luminance(background), luminance(textColourOn(background))].toSorted((a, b) => a - b);
    expect(((light ?? 0) + 0.05) / ((dark ?? 0) + 0.05), `group ${group}`).toBeGreaterThanOrEqual(4.5);
  }
});
