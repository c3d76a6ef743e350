import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chooseSlots, memoryTrouble, readMachineLimits } from '../../src/machine-limits.ts';
import { tempDir } from '../support/temp.ts';

const MIB = 2 ** 20;
const NO_LIMIT_V1 = '9223372036854771712';

/** Limits of a process whose kernel shows these files; the first is /proc/self/cgroup. */
function limitsFrom(own: string, files: Record<string, string>) {
  const root = tempDir('cg');
  const ownCgroup = join(root, 'self');
  writeFileSync(ownCgroup, own);
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, 'fs', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\n`);
  }
  return readMachineLimits({ cgroups: join(root, 'fs'), ownCgroup });
}

const machine = { cores: availableParallelism(), memoryBytes: totalmem() };

describe('the limits of a process', () => {
  it('are those of the machine where no cgroup sets any', () => {
    expect(limitsFrom('0::/', {})).toEqual(machine);
    expect(limitsFrom('0::/', { 'cpu.max': 'max 100000', 'memory.max': 'max' })).toEqual(machine);
    const v1 = { 'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000' };
    const own = '4:memory:/\n1:cpu:/\n0::/';
    expect(limitsFrom(own, { ...v1, 'memory/memory.limit_in_bytes': NO_LIMIT_V1 })).toEqual(machine);
    expect(readMachineLimits({ cgroups: '/nowhere', ownCgroup: '/nowhere' })).toEqual(machine);
  });

  it('are read in a container with cgroups version 2', () => {
    const limits = limitsFrom('0::/', { 'cpu.max': '50000 100000', 'memory.max': '536870912' });
    expect(limits).toEqual({ cores: 0.5, memoryBytes: 512 * MIB });
  });

  it('are the lowest on the way up, as systemd nests them', () => {
    const limits = limitsFrom('0::/system.slice/recognize.service', {
      'cpu.max': 'max 100000',
      'system.slice/cpu.max': '25000 50000',
      'system.slice/memory.max': '1073741824',
      'system.slice/recognize.service/cpu.max': '90000 100000',
      'system.slice/recognize.service/memory.max': '2147483648',
    });
    expect(limits).toEqual({ cores: 0.5, memoryBytes: 1024 * MIB });
  });

  it('are read with version 1, in a container whose path is that of the host', () => {
    const limits = limitsFrom('9:memory:/docker/0a1b\n3:cpu,cpuacct:/docker/0a1b\n2:cpuset:/docker/0a1b', {
      'cpu,cpuacct/cpu.cfs_quota_us': '75000',
      'cpu,cpuacct/cpu.cfs_period_us': '100000',
      'memory/memory.limit_in_bytes': '268435456',
    });
    expect(limits).toEqual({ cores: 0.75, memoryBytes: 256 * MIB });
  });

  it('are read with version 1 below the top, beside an empty version 2', () => {
    const limits = limitsFrom('4:memory:/kubepods/pod1/c1\n1:cpu:/kubepods/pod1/c1\n0::/', {
      'cpu/kubepods/pod1/c1/cpu.cfs_quota_us': '20000',
      'cpu/kubepods/pod1/c1/cpu.cfs_period_us': '100000',
      'memory/kubepods/pod1/memory.limit_in_bytes': '134217728',
      'memory/kubepods/pod1/c1/memory.limit_in_bytes': NO_LIMIT_V1,
    });
    expect(limits).toEqual({ cores: 0.2, memoryBytes: 128 * MIB });
  });

  it.skipIf(process.platform !== 'linux')('keep to the cpuset', () => {
    const script = `import { readMachineLimits } from ${JSON.stringify(resolve('src/machine-limits.ts'))};
      console.log(readMachineLimits().cores);`;
    const node = [process.execPath, '--input-type=module', '-e', script];
    expect(Number(execFileSync('taskset', ['-c', '0', ...node], { encoding: 'utf8' }))).toBeLessThanOrEqual(1);
  });
});

describe('slots', () => {
  const plenty = 64 * 1024 * MIB;

  it.each([
    [0.2, 1],
    [0.5, 1],
    [1, 1],
    [1.999, 2],
    [2, 2],
    [2.5, 2],
    [16, 16],
  ])('for %d cores: %d', (cores, slots) => {
    expect(chooseSlots({ cores, memoryBytes: plenty }, undefined)).toEqual({ slots, limitedBy: 'cores' });
  });

  it.each([
    [1024, 1],
    [2048, 2],
    [4096, 5],
    [8192, 11],
  ])('for 16 cores with %d MiB: %d', (mib, slots) => {
    expect(chooseSlots({ cores: 16, memoryBytes: mib * MIB }, undefined)).toEqual({ slots, limitedBy: 'memory' });
  });

  it('are as the design sizes its workers: 1 CPU with 2 GB, 2 CPUs with 4 GB', () => {
    expect(chooseSlots({ cores: 1, memoryBytes: 2048 * MIB }, undefined).slots).toBe(1);
    expect(chooseSlots({ cores: 2, memoryBytes: 4096 * MIB }, undefined).slots).toBe(2);
  });

  it('are what WORKER_CONCURRENCY says, whatever there is', () => {
    const choice = chooseSlots({ cores: 0.5, memoryBytes: 100 * MIB }, 7);
    expect(choice).toEqual({ slots: 7, limitedBy: 'WORKER_CONCURRENCY' });
  });
});

describe('too little memory', () => {
  it('is told with what mends it, and stops a worker that could not load a model', () => {
    expect(memoryTrouble({ cores: 1, memoryBytes: 2048 * MIB })).toBeUndefined();
    expect(memoryTrouble({ cores: 1, memoryBytes: 600 * MIB })).toBeUndefined();
    const short = memoryTrouble({ cores: 1, memoryBytes: 512 * MIB });
    expect(short).toMatchObject({ fatal: false, message: expect.stringMatching(/512 MiB .* raise .* 600 MiB/) });
    expect(memoryTrouble({ cores: 1, memoryBytes: 128 * MIB })).toMatchObject({ fatal: true });
  });
});
