import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/models.ts');

function models(modelsDir: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  // The test runner sets variables of its own, such as MODE.
  const env = { PATH: process.env.PATH, MODELS_DIR: modelsDir };
  return new Promise((done) => {
    execFile(process.execPath, [SCRIPT, ...args], { env, cwd: tempDir('cwd') }, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

describe.skipIf(!requireShared())('npm run models', { timeout: 60_000 }, () => {
  it('pulls, lists and verifies', async () => {
    const dir = join(tempDir('cli'), 'models');
    const pulled = await models(dir, 'pull', 'haar', 'yunet', 'yolox_nano');
    expect(pulled).toMatchObject({ code: 0, err: '' });
    expect(pulled.out.match(/^(haar|yunet|yolox_nano): got it from /gm)).toHaveLength(3);
    expect(await readdir(dir)).toHaveLength(3);
    expect(await models(dir, 'pull', 'haar', 'yunet', 'yolox_nano')).toEqual({ code: 0, out: '', err: '' });

    const { out } = await models(dir, 'list');
    expect(out).toMatch(/^yunet +face +ready, default +free /m);
    expect(out).toMatch(/^haar +face +ready +any /m);
    expect(out).toMatch(/^yolox_s +object +not here +640x640 +80 +35\.9 MB +Apache-2\.0$/m);

    expect(await models(dir, 'verify')).toMatchObject({ code: 0, err: '' });
    const cascade = join(dir, 'haarcascade_frontalface_default.xml');
    await writeFile(cascade, (await readFile(cascade, 'utf8')).replace('24', '25'));
    const verified = await models(dir, 'verify');
    expect(verified.code).toBe(1);
    expect(verified.out).toMatch(/^haar .* wrong sum$/m);
    expect(verified.out).toMatch(/^yunet .* ok$/m);
  });

  it('adds, and says why it does not', async () => {
    const dir = join(tempDir('cli'), 'models');
    const labels = join(tempDir('labels'), 'labels.txt');
    await writeFile(labels, 'red\r\ngreen\nblue\n');
    const file = sharedPath('models/layouts/v8-three-classes-320.onnx');
    expect(await models(dir, 'add', file, '--name', 'own', '--labels', labels)).toEqual({
      code: 0,
      out: 'own: added (object, layout yolov8, input 320x320, 3 labels, licence CC0-1.0)\n',
      err: '',
    });
    const { models: added } = JSON.parse(await readFile(join(dir, 'added.json'), 'utf8'));
    expect(added[0].labels).toEqual(['red', 'green', 'blue']);
    expect((await models(dir, 'list')).out).toMatch(/^own +object +ready, default /m);

    const refused = await models(dir, 'add', sharedPath('models/layouts/refuse-pose.onnx'));
    expect(refused).toEqual({
      code: 1,
      out: '',
      err:
        'refuse-pose.onnx is refused: It is a model for pose estimation, not for detection; ' +
        'seen: output0 [1, 56, 8400] for an input of 640x640.\n',
    });
    await writeFile(labels, '["red", 3]');
    expect((await models(dir, 'add', file, '--labels', labels)).err).toMatch(/^The labels must be /);
    expect((await models(dir, 'add', file, '--labels', `${labels}.none`)).err).toMatch(/cannot be read \(ENOENT\)/);
  });

  it('explains how it is used', async () => {
    const dir = join(tempDir('cli'), 'models');
    for (const args of [[], ['dance'], ['list', 'too-much'], ['add'], ['list', '--wrong'], ['add', 'a', 'b']]) {
      const { code, out, err } = await models(dir, ...args);
      expect([code, out]).toEqual([1, '']);
      expect(err).toContain('Usage: npm run models -- <command>');
    }
    expect((await models(dir, '--help')).out).toContain('Usage: npm run models');
    expect(await models(dir, 'pull', 'nothing')).toMatchObject({
      code: 1,
      err: 'There is no model nothing; "npm run models -- list" names them all.\n',
    });
  });
});
