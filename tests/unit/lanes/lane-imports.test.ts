import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import process from 'node:process';
import { expect, test } from 'vitest';

const LANE = resolve(import.meta.dirname, '../../../src/lanes/lane.ts');

const LIST_IMPORTS = `
  import { registerHooks } from 'node:module';
  registerHooks({
    resolve(name, context, next) {
      const resolved = next(name, context);
      console.log(resolved.url);
      return resolved;
    },
  });
  await import(process.argv[1]);
  process.exit(0);
`;

test('a detection process starts without what few tasks need', () => {
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', LIST_IMPORTS, LANE], {
    encoding: 'utf8',
  });
  const urls = output.trim().split('\n');
  expect(urls.some((url) => url.includes('/node_modules/sharp/'))).toBe(true);
  const costly = [
    '/node_modules/zod/',
    '/node_modules/fluent-ffmpeg/',
    '/src/lanes/video.ts',
    '/src/media/annotate.ts',
  ];
  expect(urls.filter((url) => costly.some((part) => url.includes(part)))).toEqual([]);
});
