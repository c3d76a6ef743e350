import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export type Counts = { passed: number; failed: number; skipped: number };

/** Failures outside test cases, in a file or suite, such as a hook that threw or a file that did not load. */
function brokenSuites(module: TestModule): number {
  let broken = module.errors().length > 0 ? 1 : 0;
  for (const suite of module.children.allSuites()) if (suite.errors().length > 0) broken += 1;
  return broken;
}

export function countResults(modules: readonly TestModule[], unhandledErrors: number): Counts {
  const counts: Counts = { passed: 0, failed: unhandledErrors, skipped: 0 };
  for (const module of modules) {
    counts.failed += brokenSuites(module);
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed' || state === 'failed' || state === 'skipped') counts[state] += 1;
      else counts.failed += 1;
    }
  }
  return counts;
}

/** Tests that passed only when they were tried again, with what was wrong the first time. */
export function secondTries(modules: readonly TestModule[]): string[] {
  return modules.flatMap((module) =>
    [...module.children.allTests()]
      .filter((test) => test.diagnostic()?.flaky === true)
      .map(
        (test) => `${module.relativeModuleId} > ${test.fullName}: ${test.result().errors?.[0]?.message ?? 'failed'}`,
      ),
  );
}

/**
 * Names tests that needed a second try, and leaves the counts of a run in the file named by RECOGNIZE_TEST_COUNTS;
 * scripts/test.sh prints them as its last line.
 */
export function closingLineReporter(): Reporter {
  return {
    onTestRunEnd(modules, unhandledErrors) {
      const { passed, failed, skipped } = countResults(modules, unhandledErrors.length);
      for (const line of secondTries(modules)) console.log(`passed at the second try: ${line}`);
      const path = process.env.RECOGNIZE_TEST_COUNTS;
      if (path !== undefined) writeFileSync(path, `${passed} ${failed} ${skipped}\n`);
    },
  };
}
