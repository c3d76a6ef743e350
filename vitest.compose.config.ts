import { defineConfig } from 'vitest/config';
import { closingLineReporter } from './tests/support/closing-line-reporter.ts';
import { RETRIES } from './tests/support/retries.ts';

/** `npm run test:compose`: the images and the Compose file on a real engine; apart, since it takes minutes. */
export default defineConfig({
  test: {
    name: 'compose',
    include: ['tests/compose/**/*.test.ts'],
    reporters: [['default', { summary: false }], closingLineReporter()],
    passWithNoTests: false,
    globalSetup: ['tests/support/global-setup.ts', 'tests/compose/images.ts'],
    fileParallelism: false,
    sequence: { hooks: 'list' },
    testTimeout: 240_000,
    hookTimeout: 600_000,
    bail: 3,
    retry: RETRIES,
  },
});
