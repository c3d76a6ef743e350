import { execFile } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { childEnvironment } from '../../../src/config.ts';
import { tempDir } from '../../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

async function check(folder: string, ...args: string[]): Promise<string> {
  // vitest has a MODE of its own.
  const env = childEnvironment({ AUTOSCALE_FILE: undefined, MODE: undefined });
  const script = join(ROOT, 'scripts/autoscale.ts');
  const run = promisify(execFile)(process.execPath, [script, ...args], { cwd: folder, env });
  return run.then(
    ({ stdout }) => stdout,
    ({ stderr }: { stderr: string }) => stderr,
  );
}

it('reads the rules that the service would, also where .env names them', async () => {
  const folder = tempDir('rules');
  expect(await check(folder, '--check')).toMatch(/autoscale\.example\.json can be used\.$/m);
  copyFileSync(join(ROOT, 'autoscale.example.json'), join(folder, 'mine.json'));
  writeFileSync(join(folder, '.env'), 'AUTOSCALE_FILE=mine.json\n');
  expect(await check(folder, '--check')).toMatch(/mine\.json can be used\.$/m);
  writeFileSync(join(folder, '.env'), 'AUTOSCALE_FILE=gone.json\n');
  expect(await check(folder, '--check')).toBe('Wrong setting: AUTOSCALE_FILE names a file that is not there.\n');
  expect(await check(folder, '--rules', join(ROOT, 'autoscale.example.json'), '--check')).toContain('can be used');
  expect(await check(folder)).toMatch(/^usage: npm run autoscale/);
});
