import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENVIRONMENT_NAMES } from '../../src/config.ts';
import { call } from '../support/api.ts';
import { type Service, startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** Blocks of one language, each as its text. */
const blocks = (language: string) =>
  [...README.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map((match) => match[1] ?? '');

type Step = { command: string; output: string };

/** Commands of the session with what they print; a command begins with `$ `. */
const session: Step[] = blocks('console').flatMap((block) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const end = step.indexOf('\n');
      return { command: step.slice(0, end), output: step.slice(end + 1).trim() };
    }),
);

/** The form of a JSON value: keys and kinds, not what may differ from run to run. */
function form(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(form);
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, form(inner)]),
  );
}

const IDS = /[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}/g;

describe('README', () => {
  it('names npm scripts, settings and files that there are', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = [...README.matchAll(/npm (?:run )?([a-z][a-z:-]*)/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !Object.hasOwn(scripts, name) && name !== 'packages')).toEqual([]);
    const configuration = README.slice(README.indexOf('## Configuration'), README.indexOf('## Scaling'));
    const settings = [...configuration.matchAll(/^\| `([A-Z_]+)`(?:, `([A-Z_]+)`)? \|/gm)].flatMap(([, a, b]) => [
      a,
      b,
    ]);
    const known = settings.filter((name) => name !== undefined);
    expect(known.length).toBeGreaterThan(8);
    expect(known.filter((name) => !ENVIRONMENT_NAMES.includes(name ?? ''))).toEqual([]);
    const links = [...README.matchAll(/\]\((?!http)([^)#]+)\)/g)].map((match) => match[1] ?? '');
    expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  describe.skipIf(!requireShared())('session', () => {
    const folder = tempDir('readme');
    let service: Service;

    beforeAll(async () => {
      copyFileSync(sharedPath('data/samples/dog.jpg'), join(folder, 'dog.jpg'));
      copyFileSync(sharedPath('data/bad/image/good.jpg'), join(folder, 'face.jpg'));
      service = await startService();
    });
    afterAll(async () => {
      await service?.stop();
    });

    it('goes as it is written', async () => {
      expect(session.length).toBeGreaterThan(5);
      const actual = new Map<string, string>();
      for (const { command, output } of session) {
        const line = command
          .replaceAll('http://127.0.0.1:5000', service.url)
          .replaceAll(IDS, (id) => actual.get(id) ?? id);
        const task = /\/api\/task\/([0-9a-f-]{36})/.exec(line)?.[1];
        if (task !== undefined)
          await expect
            .poll(async () => (await call(`${service.url}/api/task/${task}`)).text, { timeout: 20_000 })
            .toContain('SUCCESS');
        const { stdout } = await promisify(execFile)('bash', ['-c', line], { cwd: folder });
        const now = stdout.match(IDS) ?? [];
        for (const [index, id] of (output.match(IDS) ?? []).entries()) actual.set(id, now[index] ?? id);
        if (output.startsWith('{')) expect(form(JSON.parse(stdout)), command).toEqual(form(JSON.parse(output)));
        else expect(stdout.trim(), command).toBe(output);
      }
    });

    it('lists and verifies models', async () => {
      const commands = blocks('bash').flatMap((block) =>
        block.split('\n').filter((line) => line.startsWith('npm run models')),
      );
      expect(commands).toContain('npm run models -- list');
      for (const command of commands.filter((line) => /list|verify/.test(line))) {
        const { stdout } = await promisify(execFile)('bash', ['-c', command], {
          cwd: ROOT,
          env: service.home.environment,
        });
        expect(stdout).toContain('yunet');
      }
    });
  });
});
