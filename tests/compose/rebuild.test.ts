import { appendFileSync, cpSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { tempDir } from '../support/temp.ts';
import { docker, HAS_V2, imageTag, ROOT, run } from './stack.ts';

/** What .dockerignore lets through, and what the build is told by. */
const CONTEXT = [
  'package.json',
  'package-lock.json',
  '.npmrc',
  '.dockerignore',
  'src',
  'scripts/models.ts',
  'models/manifest.json',
  'deploy/images',
];

/** Compose 2 builds with BuildKit, the older one without; their caches are not shared. */
const BUILDER = { DOCKER_BUILDKIT: HAS_V2 ? '1' : '0' };

it.each(['Dockerfile.web', 'Dockerfile.worker'])(
  'an edit of the sources rebuilds the last layer of %s alone, and a strict umask does no harm',
  async (dockerfile) => {
    const folder = tempDir('context');
    for (const path of [...CONTEXT, dockerfile]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      cpSync(join(ROOT, path), join(folder, path), { recursive: true });
    }
    const build = async (name: string) => {
      const image = `${name}:${imageTag()}`;
      await run('docker', ['build', '-f', join(folder, dockerfile), '-t', image, folder], BUILDER);
      const [{ RootFS }] = JSON.parse(await docker('image', 'inspect', image)) as [{ RootFS: { Layers: string[] } }];
      return { image, layers: RootFS.Layers };
    };
    const before = await build('recognize-before-edit');
    appendFileSync(join(folder, 'src/main.ts'), '// edited\n');
    for (const path of ['src', 'scripts', 'models', 'deploy/images/start.sh', 'deploy/images/healthcheck.sh'])
      await run('chmod', ['-R', 'go-rwx', join(folder, path)]);
    const after = await build('recognize-after-edit');
    expect(after.layers).toHaveLength(before.layers.length);
    expect(after.layers.slice(0, -1)).toEqual(before.layers.slice(0, -1));
    expect(after.layers.at(-1)).not.toBe(before.layers.at(-1));

    const asUser = 'grep -c edited src/main.ts && test -x "$(command -v start.sh)" && node scripts/models.ts list';
    const said = await docker('run', '--rm', '--entrypoint', 'sh', after.image, '-c', asUser);
    expect(said).toMatch(/^1\nNAME /);
    expect(said).toMatch(/^yunet +face +not here/m);
  },
);
