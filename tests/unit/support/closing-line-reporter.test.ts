import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { createVitest } from 'vitest/node';
import { closingLineReporter } from '../../support/closing-line-reporter.ts';
import { tempDir } from '../../support/temp.ts';

it('counts cases, and what breaks outside of them as failures, and names what needed a second try', async () => {
  const folder = tempDir('closing');
  mkdirSync(join(folder, 'tests'));
  writeFileSync(
    join(folder, 'tests/cases.test.js'),
    "import { describe, expect, it } from 'vitest';\n" +
      "it('a', () => expect(1).toBe(1)); it('b', () => expect(1).toBe(2)); it.skip('c', () => {});\n" +
      "describe('d', () => { it('e', () => expect(2).toBe(2)); it.todo('f'); });\n",
  );
  writeFileSync(
    join(folder, 'tests/flaky.test.js'),
    "import { expect, it } from 'vitest';\n" +
      "let tries = 0;\nit('g', { retry: 1 }, () => expect(++tries, 'wrong timing').toBe(2));\n",
  );
  writeFileSync(join(folder, 'tests/broken.test.js'), "throw new Error('does not load');\n");
  const countsFile = join(folder, 'counts');
  const before = process.env.RECOGNIZE_TEST_COUNTS;
  process.env.RECOGNIZE_TEST_COUNTS = countsFile;
  const exitCode = process.exitCode;
  const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  let said: string[];
  try {
    const vitest = await createVitest({
      root: folder,
      config: false,
      watch: false,
      reporters: [closingLineReporter()],
    });
    await vitest.start();
    await vitest.close();
    said = printed.mock.calls.map(([line]) => String(line));
  } finally {
    printed.mockRestore();
    process.exitCode = exitCode;
    if (before === undefined) delete process.env.RECOGNIZE_TEST_COUNTS;
    else process.env.RECOGNIZE_TEST_COUNTS = before;
  }
  expect(readFileSync(countsFile, 'utf8')).toBe('3 2 2\n');
  expect(said).toEqual([expect.stringMatching(/^passed at the second try: tests\/flaky\.test\.js > g: wrong timing/)]);
});
