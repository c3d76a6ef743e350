import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeFolder } from '../../src/make-folder.ts';
import { tempDir } from '../support/temp.ts';

it('makes what is missing, with the mode that is asked for, and minds nothing that is there', () => {
  const path = join(tempDir('folders'), 'a/b/c');
  makeFolder(path, 0o700);
  makeFolder(path, 0o755);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

it('fails where a file is in the way', () => {
  const file = join(tempDir('folders'), 'file');
  writeFileSync(file, '');
  expect(() => makeFolder(file)).toThrow('EEXIST');
  expect(() => makeFolder(join(file, 'below'))).toThrow('ENOTDIR');
});

it.runIf(process.platform === 'linux')('fails at once under /proc, where no folder can be made', () => {
  expect(() => makeFolder('/proc/recognize/data')).toThrow('ENOENT');
});
