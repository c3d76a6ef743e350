import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { expect, it } from 'vitest';
import { ENVIRONMENT_NAMES, loadConfig } from '../../../src/config.ts';

const text = readFileSync(resolve(import.meta.dirname, '../../../.env.example'), 'utf8');
const example = parseEnv(text.replace(/^#(?=[A-Z][A-Z0-9_]+=)/gm, ''));

it('lists every setting, in the order of the configuration', () => {
  const names = [...text.matchAll(/^#([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name);
  expect(names).toEqual(ENVIRONMENT_NAMES);
});

it('sets nothing until a line is uncommented', () => {
  expect(parseEnv(text)).toEqual({});
});

it('shows the real defaults', () => {
  expect(loadConfig(example)).toEqual(loadConfig({}));
  const { FACE_MODEL, PORT, RESULT_TTL, GRACE_PERIOD } = example;
  expect({ FACE_MODEL, PORT, RESULT_TTL, GRACE_PERIOD }).toEqual({
    FACE_MODEL: 'auto',
    PORT: '5000',
    RESULT_TTL: '86400',
    GRACE_PERIOD: '8',
  });
});
