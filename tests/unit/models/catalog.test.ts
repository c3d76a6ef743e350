import { copyFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../src/models/catalog.ts';
import { formatAdded, type ModelEntry, readAdded, readManifest } from '../../../src/models/manifest.ts';
import { tempDir } from '../../support/temp.ts';
import { waitFor } from '../../support/wait-for.ts';

const MANIFEST_PATH = resolve(import.meta.dirname, '../../../models/manifest.json');

describe('the shipped manifest', () => {
  it('is valid and complete', async () => {
    const { models, auto, labelSets } = await readManifest(MANIFEST_PATH);
    expect(models.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['haar', 'yunet', 'yolox_nano', 'yolox_tiny', 'yolox_s']),
    );
    for (const { name, sources, licence, task, labels } of models) {
      expect(sources.length, name).toBeGreaterThan(0);
      expect(
        sources.every((url) => url.startsWith('https://')),
        name,
      ).toBe(true);
      expect(licence, name).not.toMatch(/GPL|unknown/i);
      expect(labels, name).toEqual(task === 'face' ? ['face'] : labelSets.coco80);
    }
    expect(auto).toEqual({ face: ['yunet', 'haar'], object: ['yolox_tiny', 'yolox_nano'] });
    expect(labelSets.coco80).toHaveLength(80);
    expect(new Set(labelSets.coco80).size).toBe(80);
    expect([labelSets.coco80?.[0], labelSets.coco80?.[16], labelSets.coco80?.[79]]).toEqual([
      'person',
      'dog',
      'toothbrush',
    ]);
    expect(new Set(models.map(({ file }) => file)).size).toBe(models.length);
  });

  it('has a sentence for what is wrong', async () => {
    const path = join(tempDir('manifest'), 'manifest.json');
    await expect(readManifest(path)).rejects.toThrow('The model manifest cannot be read (ENOENT).');
    await writeFile(path, '{');
    await expect(readManifest(path)).rejects.toThrow('The model manifest is not valid JSON.');
    await writeFile(path, '{"version": 1, "auto": {"face": [], "object": []}, "labelSets": {}, "models": [{}]}');
    await expect(readManifest(path)).rejects.toThrow('The model manifest is wrong at models.0.name:');
  });
});

describe('createCatalog', () => {
  let dir: string;
  let entries: ModelEntry[];

  beforeEach(async () => {
    dir = tempDir('models');
    entries = (await readManifest(MANIFEST_PATH)).models;
  });

  const entry = (name: string) => entries.find((model) => model.name === name) as ModelEntry;

  /** A file of the right size, which is all that the catalogue looks at. */
  async function put(name: string) {
    const path = join(dir, entry(name).file);
    await writeFile(path, '');
    await truncate(path, entry(name).bytes);
    return path;
  }

  const own = (name: string, changes: Partial<ModelEntry> = {}): ModelEntry => ({
    ...entry('yolox_nano'),
    ...{ name, file: `${name}.onnx`, bytes: 5, sources: [], labels: ['crate'] },
    ...changes,
  });

  it('knows all models and calls those ready whose file is there in its full size', async () => {
    const path = await put('yunet');
    await put('haar');
    await writeFile(join(dir, entry('yolox_nano').file), 'a part of it');
    const catalog = createCatalog(dir, MANIFEST_PATH);
    expect((await catalog.known()).map(({ name }) => name)).toEqual(entries.map(({ name }) => name));
    expect((await catalog.ready()).map(({ name }) => name)).toEqual(['haar', 'yunet']);
    expect(await catalog.find('yunet')).toEqual({ ...entry('yunet'), path });
    expect(await catalog.find('yolox_nano')).toBeUndefined();
    expect(await catalog.find('nothing')).toBeUndefined();
  });

  it('prefers by the order of the manifest, and takes any other ready model before none', async () => {
    const defaults = async () => {
      const catalog = createCatalog(dir, MANIFEST_PATH);
      const [face, object] = [await catalog.defaultFor('face', 'auto'), await catalog.defaultFor('object', 'auto')];
      return [face?.name, object?.name];
    };
    expect(await defaults()).toEqual([undefined, undefined]);
    await writeFile(join(dir, 'added.json'), formatAdded([own('crates')]));
    await writeFile(join(dir, 'crates.onnx'), '12345');
    expect(await defaults()).toEqual([undefined, 'crates']);
    await put('haar');
    await put('yolox_s');
    expect(await defaults()).toEqual(['haar', 'yolox_s']);
    await put('yunet');
    await put('yolox_nano');
    expect(await defaults()).toEqual(['yunet', 'yolox_nano']);
    await put('yolox_tiny');
    expect(await defaults()).toEqual(['yunet', 'yolox_tiny']);
  });

  it('gives a default by name only where it is ready and of the kind', async () => {
    await put('haar');
    await put('yolox_nano');
    const catalog = createCatalog(dir, MANIFEST_PATH);
    expect((await catalog.defaultFor('face', 'haar'))?.name).toBe('haar');
    expect(await catalog.defaultFor('face', 'yunet')).toBeUndefined();
    expect(await catalog.defaultFor('face', 'yolox_nano')).toBeUndefined();
  });

  it('notices files that come and go, without a restart', async () => {
    const catalog = createCatalog(dir, MANIFEST_PATH);
    expect(await catalog.ready()).toEqual([]);
    const path = await put('yolox_nano');
    await waitFor('the model to be found', async () => catalog.find('yolox_nano'));
    await writeFile(join(dir, 'added.json'), formatAdded([own('crates')]));
    await writeFile(join(dir, 'crates.onnx'), '12345');
    await waitFor('the added model', async () => catalog.find('crates'));
    expect((await catalog.find('crates'))?.labels).toEqual(['crate']);
    await rm(path);
    await waitFor('the model to be gone', async () => (await catalog.find('yolox_nano')) === undefined);
  });

  it('lets no added model take a shipped name, nor a broken list take the shipped ones away', async () => {
    await put('yolox_nano');
    await writeFile(join(dir, 'added.json'), formatAdded([own('yolox_nano'), own('crates')]));
    const catalog = createCatalog(dir, MANIFEST_PATH);
    expect((await catalog.find('yolox_nano'))?.labels).toHaveLength(80);
    expect((await catalog.known()).filter(({ name }) => name === 'yolox_nano')).toHaveLength(1);
    await writeFile(join(dir, 'added.json'), '{"models": "all of them"}');
    const other = createCatalog(dir, MANIFEST_PATH);
    expect((await other.ready()).map(({ name }) => name)).toEqual(['yolox_nano']);
    await expect(readAdded(join(dir, 'added.json'))).rejects.toThrow('The list of added models (added.json) is wrong');
  });

  it('reads no file outside of the models folder', async () => {
    await writeFile(join(dir, 'added.json'), formatAdded([own('escape', { file: '../escape.onnx' })]));
    await expect(readAdded(join(dir, 'added.json'))).rejects.toThrow('must be a plain file name');
    expect(await createCatalog(dir, MANIFEST_PATH).find('escape')).toBeUndefined();
  });

  it('looks once for many questions at a time', async () => {
    await put('yunet');
    const catalog = createCatalog(dir, MANIFEST_PATH);
    const startedAt = performance.now();
    const answers = await Promise.all(Array.from({ length: 5000 }, () => catalog.find('yunet')));
    expect(new Set(answers).size).toBe(1);
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });

  it('reads a manifest that has changed', async () => {
    const manifestPath = join(dir, 'manifest.json');
    await copyFile(MANIFEST_PATH, manifestPath);
    const catalog = createCatalog(dir, manifestPath);
    const before = await catalog.known();
    const manifest = { version: 1, auto: { face: [], object: [] }, labelSets: {}, models: [entry('haar')] };
    await writeFile(manifestPath, JSON.stringify(manifest));
    await waitFor('the new manifest', async () => (await catalog.known()).length === 1);
    expect(before.length).toBeGreaterThan(1);
  });
});
