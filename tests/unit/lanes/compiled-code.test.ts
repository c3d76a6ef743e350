import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiledCodeEnvironment } from '../../../src/lanes/compiled-code.ts';
import { tempDir } from '../../support/temp.ts';

test('the folder is for this user alone, and serves again', () => {
  const folder = join(tempDir('code'), 'cache', 'compiled');
  expect(compiledCodeEnvironment(folder)).toEqual({ NODE_COMPILE_CACHE: folder });
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(compiledCodeEnvironment(folder)).toEqual({ NODE_COMPILE_CACHE: folder });
});

test('one into which others may write is not used', () => {
  const folder = join(tempDir('code'), 'compiled');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  expect(compiledCodeEnvironment(folder)).toEqual({});
});

test('where there can be none, processes compile for themselves', () => {
  const folder = join(tempDir('code'), 'compiled');
  writeFileSync(folder, '');
  expect(compiledCodeEnvironment(folder)).toEqual({});
  expect(compiledCodeEnvironment('/proc/nowhere/compiled')).toEqual({});
  expect(compiledCodeEnvironment(undefined)).toEqual({});
});

test('a link of somebody else leads nowhere', () => {
  const folder = join(tempDir('code'), 'compiled');
  symlinkSync(tempDir('ours'), folder);
  expect(compiledCodeEnvironment(folder)).toEqual({});
});
