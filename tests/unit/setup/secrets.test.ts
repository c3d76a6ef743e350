import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config.ts';
import { tempDir } from '../../support/temp.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/secrets.ts');

describe('npm run secrets', () => {
  const folder = tempDir('secrets');
  const run = (file: string, ...words: string[]) =>
    promisify(execFile)(process.execPath, [SCRIPT, '--file', join(folder, file), ...words]);
  const read = (file: string) => parseEnv(readFileSync(join(folder, file), 'utf8'));
  const mode = (file: string) => (statSync(join(folder, file)).mode & 0o777).toString(8);

  it('makes a file that only its owner reads, with secrets that pass as strong', async () => {
    const { stdout } = await run('new', '--api-key', 'laptop');
    const made = read('new');
    expect(Object.keys(made).sort()).toEqual([
      'API_KEYS',
      'DASHBOARD_PASSWORD',
      'DASHBOARD_USER',
      'METRICS_TOKEN',
      'REDIS_PASSWORD',
    ]);
    expect(made.REDIS_PASSWORD).toMatch(/^[\w-]{43}$/);
    expect(made.API_KEYS).toMatch(/^laptop:[\w-]{43}$/);
    expect(mode('new')).toBe('600');
    expect(() => loadConfig({ ...made, RECOGNIZE_REFUSE_WEAK_SECRETS: 'true' })).not.toThrow();
    for (const name of ['REDIS_PASSWORD', 'DASHBOARD_PASSWORD']) expect(stdout).not.toContain(made[name]);
    await run('other');
    expect(read('other').REDIS_PASSWORD).not.toBe(made.REDIS_PASSWORD);
  });

  it('leaves what is set as it is, and fills in what is empty', async () => {
    const before = '# mine\nREDIS_PASSWORD=my-own\nMETRICS_TOKEN=\nDASHBOARD_USERS=ann:admin:x\n\n';
    writeFileSync(join(folder, 'old'), before, { mode: 0o644 });
    const { stdout } = await run('old');
    expect(stdout).toContain('REDIS_PASSWORD: is set already');
    expect(readFileSync(join(folder, 'old'), 'utf8')).toMatch(
      /^# mine\nREDIS_PASSWORD=my-own\nDASHBOARD_USERS=ann:admin:x\nMETRICS_TOKEN=[\w-]{43}\n$/,
    );
    expect(mode('old')).toBe('600');
    const once = readFileSync(join(folder, 'old'), 'utf8');
    await run('old');
    expect(readFileSync(join(folder, 'old'), 'utf8')).toBe(once);
    expect(readdirSync(folder).filter((name) => name.includes('draft'))).toEqual([]);
  });
});
