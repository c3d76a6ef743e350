import { describe, expect, it } from 'vitest';
import {
  annotatedName,
  derivedNames,
  detectionsName,
  newBase,
  originalName,
  parseName,
  urlOf,
} from '../../../src/storage/names.ts';

const BASE = '0123456789abcdef0123456789abcdef';

it('every base has 128 random bits', () => {
  const bases = Array.from({ length: 1000 }, newBase);
  expect(new Set(bases).size).toBe(1000);
  for (const base of bases) expect(base).toMatch(/^[0-9a-f]{32}$/);
  const ones = bases
    .join('')
    .replace(/./g, (digit) => Number.parseInt(digit, 16).toString(2))
    .replaceAll('0', '');
  // 128,000 fair bits: six standard deviations of 179 either way.
  expect(Math.abs(ones.length - 64_000)).toBeLessThan(1074);
});

it('names say what they are', () => {
  expect(originalName(BASE, 'png')).toBe(`${BASE}.png`);
  expect(annotatedName(BASE, 'jpg')).toBe(`${BASE}_annotated.jpg`);
  expect(urlOf(`${BASE}.png`)).toBe(`/api/uploads/${BASE}.png`);
  expect(parseName(`${BASE}.png`)).toEqual({ base: BASE, role: 'original', extension: 'png' });
  expect(parseName(`${BASE}_annotated.jpg`)).toEqual({ base: BASE, role: 'annotated', extension: 'jpg' });
});

it('every other file of a task has a name of its own', () => {
  expect(detectionsName(BASE, 'ndjson')).toBe(`${BASE}_detections.ndjson`);
  expect(parseName(`${BASE}_detections.json`)).toEqual({ base: BASE, role: 'detections', extension: 'json' });
  const names = derivedNames(BASE);
  for (const name of [annotatedName(BASE, 'webp'), annotatedName(BASE, 'mp4'), detectionsName(BASE, 'json')]) {
    expect(names).toContain(name);
  }
  for (const name of names) expect(parseName(name)?.base).toBe(BASE);
  expect(names.map((name) => parseName(name)?.role)).not.toContain('original');
});

describe('what this service cannot have made is no name', () => {
  it.each([
    '',
    '.',
    '..',
    '../x.jpg',
    `../${BASE}.jpg`,
    `${BASE}/../x.jpg`,
    `.tmp/${BASE}.part`,
    BASE,
    `${BASE}.`,
    `${BASE}.JPG`,
    `${BASE}.jpg\0`,
    `${BASE}.jpg\n`,
    `${BASE}.tar.gz`,
    `${BASE.toUpperCase()}.jpg`,
    `${BASE}0.jpg`,
    `${BASE.slice(1)}.jpg`,
    `${BASE}_annotated_annotated.jpg`,
    ` ${BASE}.jpg`,
    'picture.jpg',
  ])('%j', (name) => {
    expect(parseName(name)).toBeUndefined();
  });
});
