import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../..');

type Outcome = { code: number; stdout: string; stderr: string };

function runSetup(env: Record<string, string | undefined>): Promise<Outcome> {
  const script = join(ROOT, 'scripts/setup.sh');
  return new Promise((done) => {
    execFile('/bin/bash', [script], { cwd: '/', env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

function findCommand(name: string): string {
  const folder = (process.env.PATH ?? '').split(delimiter).find((entry) => existsSync(join(entry, name)));
  if (folder === undefined) throw new Error(`There is no ${name} on this machine.`);
  return join(folder, name);
}

/** A machine with these commands and no others: links to the real ones, and shell scripts. */
function machine(real: readonly string[], scripts: Record<string, string>): { PATH: string; folder: string } {
  const folder = tempDir('bin');
  for (const name of real) symlinkSync(findCommand(name), join(folder, name));
  for (const [name, body] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return { PATH: folder, folder };
}

it('does nothing, quickly, when everything is there', async () => {
  // Otherwise this test would install packages below the running tests.
  const hash = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  const stamp = readFileSync(join(ROOT, 'node_modules/.recognize-setup'), 'utf8').trim();
  expect(stamp, 'the lock file has changed: run npm run setup').toBe(`${process.platform} ${process.arch} ${hash}`);

  const startedAt = performance.now();
  const { code, stdout } = await runSetup({ MODELS_DIR: undefined });
  expect(code).toBe(0);
  expect(stdout).toBe('Setup is complete. Start with: npm start\n');
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});

it('prints the one command to run where it may not install, and installs nothing', async () => {
  const { PATH, folder } = machine(['dirname', 'uname', 'node', 'npm'], {
    id: 'echo 1000',
    sudo: 'exit 1',
    'apt-get': 'touch "$0.was-called"',
    ffmpeg: '',
    ffprobe: '',
  });
  const { code, stdout, stderr } = await runSetup({ PATH });
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toBe(
    'Missing system packages: redis-server. Run this, then npm run setup again:\n' +
      '  sudo apt-get update && sudo apt-get install -y --no-install-recommends redis-server\n',
  );
  expect(existsSync(join(folder, 'apt-get.was-called'))).toBe(false);
});

it('installs what is missing with sudo where that asks for no password', async () => {
  const { PATH, folder } = machine(['dirname', 'uname', 'node', 'npm', 'seq', 'env', 'tee', 'chmod', 'rm'], {
    id: 'echo 1000',
    sudo: `[ "$1" = -n ] && exit 0; [ "$1" = env ] && exec "$@"; exit 0`,
    'apt-get': `echo "$*" >> "$(dirname "$0")/apt-get.calls"; case $* in *' install '*) exit 100 ;; esac`,
    'redis-server': '',
  });
  const { code, stderr } = await runSetup({ PATH });
  expect(readFileSync(join(folder, 'apt-get.calls'), 'utf8').split('\n')).toEqual([
    '-qq -o DPkg::Lock::Timeout=300 update',
    '-qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends ffmpeg',
    '',
  ]);
  expect(code).toBe(1);
  expect(stderr).toContain('They could not be installed. Try: sudo apt-get update && sudo apt-get install');
});

it('refuses a Node.js that is too old', async () => {
  const { PATH } = machine(['dirname', 'uname', 'npm'], { node: 'echo v18.20.4' });
  expect(await runSetup({ PATH })).toEqual({
    code: 1,
    stdout: '',
    stderr: 'Node.js 18.20.4 is too old: install version 20 or newer.\n',
  });
});

it('says which formulas a Mac needs', async () => {
  const { PATH } = machine(['dirname', 'node', 'npm'], { uname: 'echo Darwin' });
  const { code, stderr } = await runSetup({ PATH });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^Missing: redis ffmpeg.*\n {2}brew install redis ffmpeg/);
});
