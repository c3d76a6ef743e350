import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../../..');
const STYLE = readFileSync(resolve(ROOT, 'src/dashboard/pages/style.css'), 'utf8');
const BOARD_STYLE = readFileSync(resolve(ROOT, 'src/dashboard/pages/board.css'), 'utf8');

/** What WCAG asks for text of ordinary size (AA). */
const LEAST = 4.5;

type Colours = Record<string, string>;

const coloursOf = (block: string): Colours =>
  Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{3,6})\b/g)].map(([, name, value]) => [name, value]));

function luminance(colour: string): number {
  const long = colour.length === 4 ? colour.replace(/[0-9a-f]/g, '$&$&') : colour;
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(long.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(text: string, ground: string): number {
  const [darker = 0, lighter = 0] = [luminance(text), luminance(ground)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

const [light = '', dark = ''] = [...STYLE.matchAll(/:root \{([^}]*)\}/g)].map(([, block]) => block);
const OURS: [string, Colours][] = [
  ['light', coloursOf(light)],
  ['dark', { ...coloursOf(light), ...coloursOf(dark) }],
];
const TEXTS = ['ink', 'soft', 'link', 'good', 'bad', 'warn', 'accent'];

test('black on white is the most there is', () => {
  expect(contrast('#000', '#ffffff')).toBeCloseTo(21, 5);
  expect(contrast('#777777', '#fff')).toBeCloseTo(4.48, 2);
});

test.each(OURS)('every text of our pages can be read in the %s', (_mode, colours) => {
  const pairs = [
    ...TEXTS.flatMap((text) => [[text, 'back'] as const, [text, 'card'] as const]),
    ['on-accent', 'accent'] as const,
  ];
  for (const [text, ground] of pairs) {
    const ratio = contrast(colours[text] ?? '', colours[ground] ?? '');
    expect(ratio, `${text} on ${ground}`).toBeGreaterThanOrEqual(LEAST);
  }
});

test('text has no other colours, and none is made fainter', () => {
  const used = [...`${STYLE}${BOARD_STYLE}`.matchAll(/[\s;{]color:\s*([^;]+);/g)].map(([, value]) => value);
  const known = [...TEXTS, 'on-accent', 'primary', 'primary-foreground'].map((name) => `var(--${name})`);
  for (const value of new Set(used)) expect(['inherit', ...known]).toContain(value);
  // Buttons that cannot be pressed are what WCAG leaves out.
  expect(STYLE.match(/[^}]*\{[^}]*opacity:[^}]*\}/g)?.map((rule) => rule.trim().split(' {')[0])).toEqual([
    'button:disabled',
  ]);
});

test("the navigation can be read in Bull Board's own colours", () => {
  const folder = resolve(ROOT, 'node_modules/@bull-board/ui/dist/static/css');
  const name = readdirSync(folder).find((file) => /^main\..*\.css$/.test(file)) ?? '';
  const css = readFileSync(resolve(folder, name), 'utf8');
  const blocks = [/:root\{([^}]*--primary:#[^}]*)\}/, /\.dark-mode\{([^}]*--primary:#[^}]*)\}/];
  for (const block of blocks) {
    const { primary = '', card = '', 'primary-foreground': onPrimary = '' } = coloursOf(block.exec(css)?.[1] ?? '');
    expect(contrast(primary, card)).toBeGreaterThanOrEqual(LEAST);
    expect(contrast(onPrimary, primary)).toBeGreaterThanOrEqual(LEAST);
  }
});
