import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made = new Set<string>();

process.on('exit', () => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

/** The folder under which all of a test run lives; the global set-up makes it and removes it. */
export function tempRoot(): string {
  return process.env.RECOGNIZE_TEST_TMP ?? tmpdir();
}

/** Makes a private folder with a short path (Unix sockets fit into it); it is gone when the test run ends. */
export function tempDir(name = 't'): string {
  const folder = mkdtempSync(join(tempRoot(), `${name}-`));
  made.add(folder);
  return folder;
}
