import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const SCRIPT = join(ROOT, 'deploy/images/prepare-volumes.sh');
const READY = 'The volumes are ready.\n';

/** Nothing listens there: no model comes from the internet in these tests. */
const NO_INTERNET = { NODE_USE_ENV_PROXY: '1', HTTPS_PROXY: 'http://127.0.0.1:9', HTTP_PROXY: 'http://127.0.0.1:9' };

describe.skipIf(!requireShared())('prepare-volumes.sh', { timeout: 60_000 }, () => {
  /** What the images hold, where no sibling folder has models. */
  const app = join(tempDir('app'), 'app');
  const tripwire = tempDir('bin');
  let mirror: string;
  let models: string;
  let uploads: string;

  beforeAll(() => {
    cpSync(join(ROOT, 'src'), join(app, 'src'), { recursive: true });
    for (const file of ['package.json', 'models/manifest.json', 'scripts/models.ts']) {
      mkdirSync(dirname(join(app, file)), { recursive: true });
      copyFileSync(join(ROOT, file), join(app, file));
    }
    symlinkSync(join(ROOT, 'node_modules'), join(app, 'node_modules'));
    writeFileSync(join(tripwire, 'node'), '#!/bin/sh\necho "node was started: $*"\nexit 9\n');
    chmodSync(join(tripwire, 'node'), 0o755);
  });

  beforeEach(() => {
    [mirror, models, uploads] = [tempDir('mirror'), tempDir('models'), tempDir('uploads')];
    for (const name of ['yunet_n_dynamic.onnx', 'yolox_nano.onnx']) {
      copyFileSync(sharedPath(`models/${name}`), join(mirror, name));
    }
  });

  type Ended = { code: number; out: string; err: string };
  function prepare(
    bin: string,
    folders: string[],
    command: string[],
    mirrors = mirror,
    settings: Record<string, string> = {},
  ): Promise<Ended> {
    const places = { MODELS_DIR: models, MODELS_MIRROR: mirrors };
    const env = { PATH: `${bin}:${process.env.PATH}`, ...places, ...NO_INTERNET, ...settings };
    const user = String(process.getuid?.() ?? 0);
    return new Promise((done) => {
      execFile('bash', [SCRIPT, user, ...folders, '--', ...command], { cwd: app, env }, (error, out, err) => {
        done({ code: error === null ? 0 : Number(error.code), out, err });
      });
    });
  }
  const up = (...command: string[]) => prepare(dirname(process.execPath), [models, uploads], command);
  /** Where all is done: a start of Node would show. */
  const upWithoutNode = (mirrors?: string) => prepare(tripwire, [models, uploads], [], mirrors);

  it('fetches the models once, and does nothing afterwards', async () => {
    const first = await up();
    expect(first.code, first.err).toBe(0);
    expect(first.out.match(/^(haar|yunet|yolox_nano): got it from /gm)).toHaveLength(3);
    expect(first.out.endsWith(READY)).toBe(true);
    expect(first.err).toMatch(/^Note: yolox_tiny/);
    const times = () => readdirSync(models).map((name) => [name, statSync(join(models, name)).mtimeMs]);
    const before = times();
    expect(await upWithoutNode()).toEqual({ code: 0, out: READY, err: '' });
    expect(times()).toEqual(before);
    expect(readdirSync(uploads)).toEqual([]);
  });

  it('fetches anew when models, mirrors or what they hold have changed', async () => {
    await up();
    rmSync(join(models, 'yolox_nano.onnx'));
    expect((await up()).out).toMatch(/^yolox_nano: got it from /m);
    expect((await upWithoutNode()).out).toBe(READY);
    // Further models in the volume are no reason, one in a mirror is.
    copyFileSync(sharedPath('models/version-RFB-320.onnx'), join(models, 'version-RFB-320.onnx'));
    expect((await upWithoutNode()).out).toBe(READY);
    expect((await upWithoutNode(`${mirror},http://models.example.org`)).out).toContain('node was started');
    await up();
    writeFileSync(join(mirror, 'yolox_tiny.onnx'), 'not yet whole');
    expect((await upWithoutNode()).out).toContain('node was started');
  });

  it('says last that a default model is missing, and tries again the next time', async () => {
    rmSync(join(mirror, 'yunet_n_dynamic.onnx'));
    const { code, err } = await up();
    expect(code).toBe(0);
    expect(err).toMatch(/^Warning: yunet could not be had; tried:/m);
    expect(err.trim().split('\n').at(-1)).toMatch(/^Models that the service starts with could not be had.* up models$/);
    copyFileSync(sharedPath('models/yunet_n_dynamic.onnx'), join(mirror, 'yunet_n_dynamic.onnx'));
    expect((await up()).out).toMatch(/^yunet: got it from .*\nThe volumes are ready\.\n$/m);
    expect((await upWithoutNode()).out).toBe(READY);
  });

  it('runs commands for models, "pull" among them although all is done', async () => {
    await up();
    expect((await up('list')).out).toMatch(/^yunet +face +ready, default /m);
    expect(await up('pull', 'yolox_s')).toMatchObject({ code: 1, err: expect.stringMatching(/^Warning: yolox_s /) });
    expect((await up('pull')).err).toMatch(/^Note: yolox_tiny/);
    expect((await upWithoutNode()).out).toBe(READY);
  });

  it('lets everybody read what others mount, and leaves alone what is readable', async () => {
    const [folder, open] = [tempDir('closed'), join(tempDir('open'), 'nginx.conf')];
    writeFileSync(join(folder, 'start.sh'), '', { mode: 0o600 });
    writeFileSync(open, '');
    chmodSync(folder, 0o700);
    chmodSync(open, 0o664);
    const paths = { PUBLIC_PATHS: `${folder} ${open}` };
    expect((await prepare(dirname(process.execPath), [models, uploads], [], mirror, paths)).out).toContain(READY);
    const modes = [folder, join(folder, 'start.sh'), open].map((path) => (statSync(path).mode & 0o777).toString(8));
    expect(modes).toEqual(['755', '644', '664']);
    const missing = { PUBLIC_PATHS: join(folder, 'gone') };
    const { code, err } = await prepare(tripwire, [models, uploads], [], mirror, missing);
    expect(code).toBe(0);
    expect(err).toMatch(/Redis and nginx cannot read .*: chmod -R a\+rX deploy\n$/);
  });

  it('names folders that cannot be written, and goes on with the others', async () => {
    const file = join(uploads, 'a-file');
    writeFileSync(file, '');
    const { code, out, err } = await prepare(dirname(process.execPath), [models, file], []);
    expect(code).toBe(0);
    expect(out).toMatch(/^yunet: got it from /m);
    expect(err.trim().split('\n').at(-1)).toBe(
      `The folder ${file} cannot be written: mount a volume or a folder there, and not read-only.`,
    );
    expect((await prepare(tripwire, [join(models, 'gone'), uploads], [])).out).toBe('');
  });
});
