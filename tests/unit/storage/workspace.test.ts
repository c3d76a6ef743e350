import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { openWorkspace } from '../../../src/storage/workspace.ts';
import { endChild, ownChild } from '../../support/child.ts';
import { tempDir } from '../../support/temp.ts';

const MODULE = JSON.stringify(new URL('../../../src/storage/workspace.ts', import.meta.url).href);

/** A process that has begun to receive an upload. */
async function startReceiver(folder: string) {
  const script = `
    import { writeFileSync } from 'node:fs';
    import { openWorkspace } from ${MODULE};
    const path = openWorkspace(${JSON.stringify(folder)}).temporaryPath();
    writeFileSync(path, 'half');
    process.stdout.write(path);
    setInterval(() => undefined, 1000);
  `;
  const child = ownChild(
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  const [path] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return { child, name: basename(path) };
}

test('uploads of a process that was killed go at once, those of living ones and of other machines stay', async () => {
  const folder = tempDir('ws');
  const workspace = openWorkspace(folder);
  const [living, killed] = await Promise.all([startReceiver(folder), startReceiver(folder)]);
  const elsewhere = killed.name.replace(/^upload\.[0-9a-f]{16}/, `upload.${'0'.repeat(16)}`);
  const own = basename(workspace.temporaryPath());
  const ofTask = basename(workspace.temporaryPath('3e86df27-07be-4710-a892-0af3ed8c5b2e'));
  for (const name of [elsewhere, own, ofTask]) writeFileSync(join(folder, name), 'half');
  expect(await workspace.discardOrphans()).toBe(0);
  await endChild(killed.child, 'SIGKILL');
  expect(await workspace.discardOrphans()).toBe(1);
  expect(readdirSync(folder).sort()).toEqual([living.name, elsewhere, own, ofTask].sort());
  await endChild(living.child, 'SIGKILL');
  expect(await workspace.discardOrphans()).toBe(1);
  expect(await workspace.sweep(0)).toBe(3);
  expect(readdirSync(folder)).toEqual([]);
});
