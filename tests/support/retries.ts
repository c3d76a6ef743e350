import process from 'node:process';

/**
 * How often a test that needs processes and their timing is tried again. Whoever checks a change on a busy machine should
 * not be stopped by a fault of timing; the closing line's reporter names each, so that it can be mended.
 */
export const RETRIES = process.env.CI === 'true' ? 1 : 0;
