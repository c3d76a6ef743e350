import { expect, test } from 'vitest';
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphOf } from '../../../src/media/font.ts';

const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCharCode(0x20 + index));

function art(character: string): string[] {
  return Array.from(glyphOf(character), (bits) =>
    bits.toString(2).padStart(GLYPH_WIDTH, '0').replaceAll('1', '#').replaceAll('0', '.'),
  );
}

test.each([
  ['A', ['.###.', '#...#', '#...#', '#...#', '#####', '#...#', '#...#', '.....', '.....']],
  ['g', ['.....', '.....', '.####', '#...#', '#...#', '#...#', '.####', '....#', '.###.']],
  ['7', ['#####', '....#', '...#.', '..#..', '.#...', '.#...', '.#...', '.....', '.....']],
  ['%', ['##..#', '##..#', '...#.', '..#..', '.#...', '#..##', '#..##', '.....', '.....']],
  ['~', ['.....', '.....', '.#...', '#.#.#', '...#.', '.....', '.....', '.....', '.....']],
])('%s looks like itself', (character, rows) => {
  expect(art(character)).toEqual(rows);
});

test('every printable character has a glyph of its own', () => {
  const glyphs = PRINTABLE.map((character) => art(character).join('\n'));
  expect(new Set(glyphs).size).toBe(95);
  expect(glyphs).not.toContain(art('é').join('\n'));
  for (const character of PRINTABLE) {
    expect(glyphOf(character)).toHaveLength(GLYPH_HEIGHT);
    for (const bits of glyphOf(character)) expect(bits).toBeLessThan(2 ** GLYPH_WIDTH);
  }
});

test('only letters and signs with a tail reach below the line', () => {
  const tails = PRINTABLE.filter((character) => [7, 8].some((row) => glyphOf(character)[row] !== 0));
  expect(tails.join('')).toBe(',;_gjpqy|');
});

test('anything else is a box', () => {
  for (const character of ['é', '顔', '😀', '\n', '\x7f', '']) expect(art(character)[0]).toBe('#####');
});
