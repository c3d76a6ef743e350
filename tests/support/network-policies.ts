import type { Manifest } from './kustomize.ts';
import { containersOf, ofKind, workloads } from './manifests.ts';

type Selector = {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values: string[] }[];
};
type Peer = { podSelector?: Selector; namespaceSelector?: Selector };
type Port = { protocol: string; port: number | string; endPort?: number };
type Rule = { from?: Peer[]; to?: Peer[]; ports?: Port[] };
type Policy = Manifest & {
  spec: { podSelector: Selector; policyTypes: string[]; ingress?: Rule[]; egress?: Rule[] };
};

/** One end of a connection; `outside` the cluster no label is known. */
export type Place = {
  name: string;
  namespace: string;
  namespaceLabels: Record<string, string>;
  labels: Record<string, string>;
  ports: { name: string; number: number }[];
};

const OWN = 'recognize';

/** A pod of a namespace that is not ours, or with '' something outside the cluster. */
export function stranger(namespace: string, namespaceLabels: Record<string, string> = {}): Place {
  const own = namespace === '' ? {} : { 'kubernetes.io/metadata.name': namespace };
  return {
    name: namespace || 'outside',
    namespace,
    namespaceLabels: { ...own, ...namespaceLabels },
    labels: {},
    ports: [],
  };
}

/** Pods of ours, one of each workload. */
export const ownPlaces = (overlay: string): Place[] =>
  workloads(overlay).map((workload) => ({
    ...stranger(OWN),
    name: workload.metadata.name.replace('recognize-', ''),
    labels: workload.spec.template.metadata.labels,
    ports: containersOf(workload).flatMap(({ ports = [] }) =>
      ports.map(({ name, containerPort }) => ({ name, number: containerPort })),
    ),
  }));

function selects(selector: Selector, labels: Record<string, string>): boolean {
  const known = ['matchLabels', 'matchExpressions'];
  const strange = Object.keys(selector).filter((field) => !known.includes(field));
  if (strange.length > 0) throw new Error(`What is ${strange.join(' ')}?`);
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      if (operator !== 'In') throw new Error(`What is ${operator}?`);
      return values.includes(labels[key] ?? '');
    })
  );
}

function isPeer({ podSelector, namespaceSelector }: Peer, place: Place): boolean {
  const inNamespace =
    namespaceSelector === undefined
      ? place.namespace === OWN
      : place.namespace !== '' && selects(namespaceSelector, place.namespaceLabels);
  return inNamespace && (podSelector === undefined || selects(podSelector, place.labels));
}

/** Names of ports are those of the pod that is spoken to. */
function isPort({ protocol, port, endPort }: Port, wanted: { protocol: string; number: number }, to: Place): boolean {
  const first = typeof port === 'number' ? port : to.ports.find(({ name }) => name === port)?.number;
  return (
    first !== undefined && protocol === wanted.protocol && wanted.number >= first && wanted.number <= (endPort ?? first)
  );
}

function permits(
  overlay: string,
  direction: 'Ingress' | 'Egress',
  [self, other]: [Place, Place],
  port: { protocol: string; number: number },
): boolean {
  if (self.namespace !== OWN) return true;
  const policies = ofKind<Policy>(overlay, 'NetworkPolicy').filter(
    ({ spec }) => spec.policyTypes.includes(direction) && selects(spec.podSelector, self.labels),
  );
  const to = direction === 'Ingress' ? self : other;
  return policies
    .flatMap(({ spec }) => (direction === 'Ingress' ? spec.ingress : spec.egress) ?? [])
    .some((rule) => {
      const peers = direction === 'Ingress' ? rule.from : rule.to;
      return (
        (peers?.some((peer) => isPeer(peer, other)) ?? true) &&
        (rule.ports?.some((candidate) => isPort(candidate, port, to)) ?? true)
      );
    });
}

/** True where the policies of an overlay let one speak to the other at a port. */
export function mayConnect(overlay: string, from: Place, to: Place, number: number, protocol = 'TCP'): boolean {
  const port = { protocol, number };
  return permits(overlay, 'Egress', [from, to], port) && permits(overlay, 'Ingress', [to, from], port);
}
