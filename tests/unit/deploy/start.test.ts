import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { tempDir } from '../../support/temp.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../deploy/images/start.sh');
const MIB = 2 ** 20;
const { scripts } = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../../package.json'), 'utf8'));

/** Runs the script under limits as a container's cgroup tells them; Node.js is one that tells its arguments. */
function start(limits: Record<string, string>): Promise<{ code: number; out: string; err: string }> {
  const [bin, cgroups] = [tempDir('bin'), tempDir('cgroups')];
  writeFileSync(join(bin, 'node'), '#!/bin/sh\necho "$@"\n');
  chmodSync(join(bin, 'node'), 0o755);
  for (const [name, text] of Object.entries(limits)) {
    mkdirSync(dirname(join(cgroups, name)), { recursive: true });
    writeFileSync(join(cgroups, name), text);
  }
  const env = { PATH: `${bin}:${process.env.PATH}`, CGROUPS: cgroups };
  return new Promise((done) => {
    execFile('bash', [SCRIPT, 'worker:face'], { env }, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

it.each([
  ['none are told', {}],
  ['there are none (version 2)', { 'memory.max': 'max\n' }],
  ['there are none (version 1)', { 'memory/memory.limit_in_bytes': '9223372036854771712\n' }],
  ['they suffice to say more', { 'memory.max': `${96 * MIB}\n` }],
])('becomes the part where limits of memory are wide: %s', async (_when, limits) => {
  const { code, out, err } = await start(limits);
  expect([code, err]).toEqual([0, '']);
  expect(`exec node ${out}`).toBe(`${scripts['worker:face']}\n`);
});

it.each(['memory.max', 'memory/memory.limit_in_bytes'])(
  'says what to do where Node.js would not start: %s',
  async (file) => {
    expect(await start({ [file]: `${95 * MIB}\n` })).toEqual({
      code: 78,
      out: '',
      err: 'The container has 95 MiB of memory, too little to start: raise its memory limit to 600 MiB or more.\n',
    });
  },
);
