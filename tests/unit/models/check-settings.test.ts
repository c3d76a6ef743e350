import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { loadConfig } from '../../../src/config.ts';
import { createCatalog } from '../../../src/models/catalog.ts';
import { checkModelSettings } from '../../../src/models/check-settings.ts';
import { tempDir } from '../../support/temp.ts';

const catalog = createCatalog(tempDir('models'), resolve(import.meta.dirname, '../../../models/manifest.json'));
const check = (environment: Record<string, string>) => checkModelSettings(loadConfig(environment).models, catalog);

it('takes models that are known, whether they are there or not', async () => {
  await check({});
  await check({ FACE_MODEL: 'haar', OBJECT_MODEL: 'yolox_s' });
});

it.each([
  [{ FACE_MODEL: 'nope' }, /^Wrong setting: FACE_MODEL names nope, .*\bauto, .*yunet/],
  [{ OBJECT_MODEL: 'yunet' }, /^Wrong setting: OBJECT_MODEL names yunet, .*\bauto, .*yolox_nano/],
])('refuses %o in a sentence that names the setting and what it may be', async (environment, sentence) => {
  await expect(check(environment)).rejects.toThrow(sentence);
});
