/**
 * Node's options for a detection process. What a picture takes outside of JavaScript is freed with it; inside, V8 lets 2 MB
 * of garbage pile up in this mode instead of 8, for some 0.1 ms of CPU a picture.
 */
export const LANE_NODE_OPTIONS: readonly string[] = ['--optimize-for-size'];

const MIB = 1024 * 1024;

/**
 * How glibc keeps memory in a detection process: one arena, as one thread at a time works there, and the buffers of one
 * picture are kept for the next. Giving them back and asking for them again costs page faults and lets memory creep.
 * Buffers above the largest threshold that glibc takes go back to the system as ever.
 */
export const LANE_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(32 * MIB),
  MALLOC_TRIM_THRESHOLD_: String(64 * MIB),
};
