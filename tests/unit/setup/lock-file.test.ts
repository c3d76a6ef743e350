import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

type LockEntry = { optionalDependencies?: Record<string, string>; resolved?: string; hasInstallScript?: boolean };

const root = resolve(import.meta.dirname, '../../..');
const { packages } = JSON.parse(readFileSync(resolve(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, LockEntry>;
};

// `npm ci` refuses a lock that lacks some platform's package, as happens when a registry mirror did not have it.
it('names the packages of every platform', () => {
  const named = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')));
  const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
  expect(wanted.length).toBeGreaterThan(10);
  expect(wanted.filter((name) => !named.has(name))).toEqual([]);
});

it('names no registry, so that any mirror will do', () => {
  expect(Object.values(packages).filter((entry) => entry.resolved?.startsWith('http'))).toEqual([]);
});

it('runs no install scripts: one of them downloads CUDA', () => {
  expect(readFileSync(resolve(root, '.npmrc'), 'utf8')).toMatch(/^ignore-scripts=true$/m);
  const withScripts = Object.entries(packages).filter(([, entry]) => entry.hasInstallScript === true);
  expect(withScripts.map(([path]) => path.replace(/^.*node_modules\//, '')).sort()).toEqual([
    '@scarf/scarf',
    'msgpackr-extract',
    'onnxruntime-node',
  ]);
});
