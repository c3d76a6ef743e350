import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';

const MIB = 2 ** 20;

/** What a worker is reckoned to need beside its detection processes, in bytes; measured: 130 MiB. */
const WORKER_BYTES = 200 * MIB;

/**
 * What a slot is reckoned to need, in bytes. Measured with default models, unshared memory alone: 150 to 220 MiB for
 * pictures of 12 megapixels (Haar 380), 480 for 1080p video with its ffmpegs, 1050 for 4K video, of which rarely all
 * slots have one at a time.
 */
export const SLOT_BYTES = 700 * MIB;

/** With less than this one slot is at risk: 1080p video was seen to go through with 600 MiB and not with 400. */
const COMFORT_BYTES = WORKER_BYTES + 400 * MIB;

/** What worker and detection process keep for themselves before any task; pictures went through with 200 MiB. */
const LEAST_BYTES = 150 * MIB;

export type MachineLimits = {
  /** Cores that this process and its children may use together, may be a fraction. */
  cores: number;
  /** Memory that they may use together, in bytes. */
  memoryBytes: number;
};

export type SlotChoice = {
  slots: number;
  /** What kept the number from being higher. */
  limitedBy: 'WORKER_CONCURRENCY' | 'cores' | 'memory';
};

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Where to find the kernel's word on this process; tests put files of their own there. */
export type Places = { cgroups: string; ownCgroup: string };

const PLACES: Places = { cgroups: '/sys/fs/cgroup', ownCgroup: '/proc/self/cgroup' };

/**
 * The folders whose limits hold for this process: its cgroup's and those of all above it. In a container the path may be
 * the host's while the container's own cgroup is mounted at the top; folders that are not there are passed over later.
 */
function foldersOf({ cgroups, ownCgroup }: Places, controller: 'cpu' | 'memory'): string[] {
  const folders: string[] = [];
  for (const line of (read(ownCgroup) ?? '0::/').split('\n')) {
    const [, controllers = '', ...rest] = line.split(':');
    const unified = controllers === '';
    if (!unified && !controllers.split(',').includes(controller)) continue;
    const steps = rest
      .join(':')
      .split('/')
      .filter((step) => step !== '' && step !== '..');
    // Version 1 mounts controllers apart, some of them together.
    const mounts = unified ? [''] : [controllers, controller];
    for (const mount of mounts) {
      for (let depth = steps.length; depth >= 0; depth--) folders.push(join(cgroups, mount, ...steps.slice(0, depth)));
    }
  }
  return folders;
}

/** A limit in bytes or microseconds; undefined for none, which is written as max, -1 or a number beyond all memory. */
function limit(text: string | undefined): number | undefined {
  const value = Number(text);
  return text === undefined || !Number.isFinite(value) || value <= 0 ? undefined : value;
}

function coresOf(folder: string): number | undefined {
  const [quota, period] = (read(join(folder, 'cpu.max')) ?? '').split(/\s+/);
  const quotaUs = limit(quota) ?? limit(read(join(folder, 'cpu.cfs_quota_us')));
  const periodUs = limit(period) ?? limit(read(join(folder, 'cpu.cfs_period_us')));
  return quotaUs === undefined || periodUs === undefined ? undefined : quotaUs / periodUs;
}

function memoryOf(folder: string): number | undefined {
  return limit(read(join(folder, 'memory.max'))) ?? limit(read(join(folder, 'memory.limit_in_bytes')));
}

const least = (values: (number | undefined)[]) => Math.min(...values.map((value) => value ?? Number.POSITIVE_INFINITY));

/** CPU quota and memory limit of the cgroup (version 2 or 1), within the machine's own and the cores of the cpuset. */
export function readMachineLimits(places: Places = PLACES): MachineLimits {
  return {
    cores: Math.min(availableParallelism(), least(foldersOf(places, 'cpu').map(coresOf))),
    memoryBytes: Math.min(totalmem(), least(foldersOf(places, 'memory').map(memoryOf))),
  };
}

/** How many detections run at a time where nobody says: one for each whole core, fewer where memory is short. */
export function chooseSlots({ cores, memoryBytes }: MachineLimits, wanted: number | undefined): SlotChoice {
  if (wanted !== undefined) return { slots: wanted, limitedBy: 'WORKER_CONCURRENCY' };
  const byCores = Math.max(1, Math.floor(cores + 0.001));
  const byMemory = Math.max(1, Math.floor((memoryBytes - WORKER_BYTES) / SLOT_BYTES));
  return byMemory < byCores ? { slots: byMemory, limitedBy: 'memory' } : { slots: byCores, limitedBy: 'cores' };
}

/** What is wrong with the memory that a worker has, as a sentence that says what to do; undefined where it is enough. */
export function memoryTrouble({ memoryBytes }: MachineLimits): { fatal: boolean; message: string } | undefined {
  if (memoryBytes >= COMFORT_BYTES) return undefined;
  const [has, needs] = [memoryBytes, COMFORT_BYTES].map((bytes) => Math.round(bytes / MIB));
  const fatal = memoryBytes < LEAST_BYTES;
  return {
    fatal,
    message:
      `The worker has ${has} MiB of memory, ${fatal ? 'too little to load a model' : 'too little for large pictures and videos'}: ` +
      `raise its memory limit to ${needs} MiB or more (2 GiB for 4K videos).`,
  };
}
