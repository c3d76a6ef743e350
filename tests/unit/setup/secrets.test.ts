import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
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
    const secrets = Object.keys(made).filter((name) => name !== 'DOCKER_GID');
    expect(secrets.sort()).toEqual([
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
    const before =
      '# mine\nREDIS_PASSWORD=my-own\nMETRICS_TOKEN=\nDASHBOARD_USERS=ann:admin:x\nDOCKER_SOCKET=/none\n\n';
    writeFileSync(join(folder, 'old'), before, { mode: 0o644 });
    const { stdout } = await run('old');
    expect(stdout).toContain('REDIS_PASSWORD: is set already');
    expect(readFileSync(join(folder, 'old'), 'utf8')).toMatch(
      /^# mine\nREDIS_PASSWORD=my-own\nDASHBOARD_USERS=ann:admin:x\nDOCKER_SOCKET=\/none\nMETRICS_TOKEN=[\w-]{43}\n$/,
    );
    expect(mode('old')).toBe('600');
    const once = readFileSync(join(folder, 'old'), 'utf8');
    await run('old');
    expect(readFileSync(join(folder, 'old'), 'utf8')).toBe(once);
    expect(readdirSync(folder).filter((name) => name.includes('draft'))).toEqual([]);
  });

  it("finds out the group of Docker's socket, where there is one", async () => {
    const socket = join(folder, 'docker.sock');
    const server = createServer().listen(socket);
    await once(server, 'listening');
    const text = `DOCKER_SOCKET=${socket}\n`;
    writeFileSync(join(folder, 'with-engine'), text);
    writeFileSync(join(folder, 'own-group'), `${text}DOCKER_GID=7\n`);
    await Promise.all([run('with-engine'), run('own-group')]);
    server.close();
    const onLinux = process.platform === 'linux' ? String(statSync(folder).gid) : undefined;
    expect([read('with-engine').DOCKER_GID, read('own-group').DOCKER_GID]).toEqual([onLinux, '7']);
  });
});
