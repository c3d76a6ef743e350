/**
 * Node's options for a detection process. It keeps little in JavaScript (about 10 MB), but every picture leaves 1 to 2 MB
 * outside of it, which count as growth: by V8's own measure it would collect garbage at every eighth picture.
 */
export const LANE_NODE_OPTIONS: readonly string[] = ['--max-semi-space-size=4', '--heap-growing-percent=250'];

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
