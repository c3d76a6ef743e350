/** Times in results have two decimals. */
export const roundedMs = (ms: number): number => Math.round(ms * 100) / 100;
