import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { expect, it } from 'vitest';
import { requireShared, sharedPath } from '../../support/shared.ts';
import { tempDir } from '../../support/temp.ts';

it.skipIf(!requireShared())('the runtime leaves no files behind and reports to nobody', () => {
  const folder = tempDir('onnx');
  const program = `
    const { tryOut } = await import(process.argv[1]);
    await tryOut(process.argv[2], { width: 416, height: 416 });
    await new Promise((resolve) => setTimeout(resolve, 1500));
  `;
  const args = ['--input-type=module', '-e', program, resolve(import.meta.dirname, '../../../src/detect/onnx.ts')];
  const { status, stderr } = spawnSync(process.execPath, [...args, sharedPath('models/yolox_nano.onnx')], {
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, XDG_CACHE_HOME: folder },
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});
