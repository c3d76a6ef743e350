import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OVERLAYS, ROOT } from '../../support/manifests.ts';
import { mayConnect, ownPlaces, stranger } from '../../support/network-policies.ts';

const OUTSIDE = stranger('');
const CLIENTS_OF_REDIS = ['web', 'face-worker', 'object-worker', 'dashboard'];

const FLOWS: Record<(typeof OVERLAYS)[number], string[]> = {
  small: CLIENTS_OF_REDIS.map((name) => `${name} -> redis:redis`),
  large: ['keda -> web:http'],
};
const FLOWS_OF_BOTH = [
  'ingress-nginx -> web:http',
  'monitoring -> web:http',
  'monitoring -> dashboard:http',
  'monitoring -> face-worker:health',
  'monitoring -> object-worker:health',
];

describe.each(OVERLAYS)('the policies of %s', (overlay) => {
  const pods = ownPlaces(overlay);

  it('let in what is meant to come in, and nothing else', () => {
    const others = ['ingress-nginx', 'keda', 'monitoring', 'default'].map((name) => stranger(name));
    const flows = [...others, OUTSIDE, ...pods].flatMap((from) =>
      pods.flatMap((to) =>
        to.ports
          .filter(({ number }) => mayConnect(overlay, from, to, number))
          .map(({ name }) => `${from.name} -> ${to.name}:${name}`),
      ),
    );
    expect(flows.sort()).toEqual([...FLOWS[overlay], ...FLOWS_OF_BOTH].sort());
  });

  it('let every pod ask for names', () => {
    const dns = stranger('kube-system');
    for (const pod of pods) {
      const asks = (protocol: string) => mayConnect(overlay, pod, dns, 53, protocol);
      expect([pod.name, asks('UDP'), asks('TCP')]).toEqual([pod.name, true, true]);
      expect(mayConnect(overlay, pod, dns, 54, 'UDP')).toBe(false);
    }
  });

  it('let out to object storage and to a collector that is marked', () => {
    const marked = stranger('observability', { 'recognize-collector': 'true' });
    const reach = (port: number, to = OUTSIDE) =>
      pods.filter((pod) => mayConnect(overlay, pod, to, port)).map(({ name }) => name);
    expect(reach(443).sort()).toEqual(CLIENTS_OF_REDIS.toSorted());
    expect(reach(4318, marked).sort()).toEqual(['face-worker', 'object-worker', 'web']);
    expect(reach(4318, stranger('observability'))).toEqual([]);
    expect(reach(80)).toEqual([]);
  });
});

/** As documented by the providers; of ranges the first and the last. */
const PORTS_OF_REDIS: [provider: string, ports: number[]][] = [
  ['AWS ElastiCache', [6379]],
  ['AWS MemoryDB', [6379]],
  ['Azure Managed Redis', [10_000, 8500, 8599]],
  ['Azure Cache for Redis', [6380]],
  ['Google Memorystore for Redis', [6379, 6378]],
  ['Google Memorystore for Redis Cluster, for Valkey', [6379, 11_000, 13_047]],
];

it.each(PORTS_OF_REDIS)('large lets web, workers and dashboard reach %s', (_, ports) => {
  for (const port of ports) {
    const reach = ownPlaces('large').filter((pod) => mayConnect('large', pod, OUTSIDE, port));
    expect([port, reach.map(({ name }) => name).sort()]).toEqual([port, CLIENTS_OF_REDIS.toSorted()]);
  }
});

it('large knows the ports of each managed Redis that the documentation names', () => {
  const text = readFileSync(resolve(ROOT, 'docs/deployment.md'), 'utf8');
  const table = /^### Managed Redis$(.*?)^## /ms.exec(text)?.[1] ?? '';
  const named = [...table.matchAll(/^\| \*\*(.*?)\*\*/gm)].map(([, name]) => name);
  expect(named).toEqual(PORTS_OF_REDIS.map(([name]) => name));
});
