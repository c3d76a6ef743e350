import { execFile, execFileSync } from 'node:child_process';
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../../support/manifests.ts';
import { tempDir } from '../../support/temp.ts';

/** What the script needs of the system. */
const TOOLS = ['bash', 'cat', 'dirname', 'env', 'id', 'mktemp', 'rm', 'timeout', 'uname'];

/** Runs `npm run test:compose` of a project on a machine whose engine, if there is one, is such a program. */
function testCompose(engine: string | undefined): Promise<{ code: number; lines: string[] }> {
  const [folder, bin] = [join(tempDir('project'), 'project'), tempDir('bin')];
  cpSync(join(ROOT, 'scripts'), join(folder, 'scripts'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const tool of TOOLS) {
    symlinkSync(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), join(bin, tool));
  }
  if (engine !== undefined) writeFileSync(join(bin, 'docker'), `#!/bin/sh\n${engine}\n`, { mode: 0o755 });
  const env = { PATH: `${bin}:${dirname(process.execPath)}` };
  return new Promise((done) => {
    execFile('bash', ['scripts/test.sh', '--compose'], { cwd: folder, env }, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code), lines: (out + err).split('\n').filter(Boolean) });
    });
  });
}

it.each([
  ['no engine answers', undefined, /skipped: no Docker engine answers\.$/],
  [
    'there is no Compose',
    '[ "$1" = version ] && echo 20.10.24',
    /skipped: there is no Compose beside the Docker engine\.$/,
  ],
])('the tests of the Compose file are skipped in one line where %s', async (_when, engine, sentence) => {
  const { code, lines } = await testCompose(engine);
  expect(lines).toEqual([expect.stringMatching(sentence), '0 passed, 0 failed, 0 skipped']);
  expect(code).toBe(0);
});
