import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { expect, it } from 'vitest';
import { ENVIRONMENT_NAMES, loadConfig } from '../../../src/config.ts';

const text = readFileSync(resolve(import.meta.dirname, '../../../.env.example'), 'utf8');
const example = parseEnv(text.replace(/^#(?=[A-Z][A-Z0-9_]+=)/gm, ''));

const [ours = '', ofCompose = ''] = text.split(/^# --- Docker Compose -+$/m);
const namesIn = (part: string) => [...part.matchAll(/^#([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name);

it('lists every setting, in the order of the configuration', () => {
  expect(namesIn(ours)).toEqual(ENVIRONMENT_NAMES);
});

it('lists what the Compose file alone reads, with its defaults', () => {
  const file = readFileSync(resolve(import.meta.dirname, '../../../docker-compose.scalable.yml'), 'utf8');
  const read = new Map([...file.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, name, value]) => [name, value]));
  const own = [...read.keys()].filter((name) => !ENVIRONMENT_NAMES.includes(name ?? ''));
  expect(namesIn(ofCompose).sort()).toEqual(own.sort());
  for (const name of own.filter((key) => key !== 'REDIS_PASSWORD')) expect(example[name ?? '']).toBe(read.get(name));
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
