import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { FOLDER, OVERLAYS, ROOT } from '../../support/manifests.ts';

const read = (path: string) => readFileSync(resolve(ROOT, path), 'utf8');
const { version, license } = JSON.parse(read('package.json')) as { version: string; license: string };

it.each(['Dockerfile.web', 'Dockerfile.worker'])(
  '%s labels the image with the version and licence of the package',
  (file) => {
    const label = (name: string) => new RegExp(`org\\.opencontainers\\.image\\.${name}="(.*?)"`).exec(read(file))?.[1];
    expect(label('version')).toBe(version);
    expect(label('licenses')).toBe(license);
    const bases = [...read(file).matchAll(/^FROM (\S+)/gm)].map(([, name]) => name);
    expect(label('base.name')).toBe(`docker.io/library/${bases.at(-1)}`);
  },
);

it.each(OVERLAYS)('the overlay %s takes images of the version of the package', (overlay) => {
  const { images } = parse(readFileSync(resolve(FOLDER, 'overlays', overlay, 'kustomization.yaml'), 'utf8')) as {
    images: { newTag: string }[];
  };
  expect(images.map(({ newTag }) => newTag)).toEqual([version, version]);
});
