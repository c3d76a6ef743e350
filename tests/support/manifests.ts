import { resolve } from 'node:path';
import { type Manifest, mergeFolder } from './kustomize.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
export const FOLDER = resolve(ROOT, 'deploy/k8s');
export const OVERLAYS = ['small', 'large'] as const;

type Probe = { httpGet?: { path: string; port: string }; exec?: unknown; tcpSocket?: { port: string } };
export type Container = {
  name: string;
  image: string;
  args?: string[];
  command?: string[];
  envFrom?: { configMapRef: { name: string } }[];
  env?: { name: string; value?: string; valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
  ports?: { name: string; containerPort: number }[];
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  securityContext: Record<string, unknown>;
  volumeMounts: { name: string; mountPath: string }[];
};
export type PodSpec = {
  terminationGracePeriodSeconds: number;
  securityContext: Record<string, unknown>;
  initContainers?: Container[];
  containers: [Container, ...Container[]];
  volumes: { name: string; persistentVolumeClaim?: { claimName: string } }[];
};
export type Workload = Manifest & {
  spec: {
    selector: { matchLabels: Record<string, string> };
    template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
    volumeClaimTemplates?: { metadata: { name: string } }[];
  };
};
export type Trigger = { type: string; metadata: Record<string, string>; authenticationRef?: { name: string } };
export type ScaledObject = Manifest & {
  spec: { scaleTargetRef: { name: string }; minReplicaCount: number; maxReplicaCount: number; triggers: Trigger[] };
};

const merged = Object.fromEntries(OVERLAYS.map((name) => [name, mergeFolder(resolve(FOLDER, 'overlays', name))]));
export const objectsOf = (overlay: string) => merged[overlay] ?? [];
export const ofKind = <T extends Manifest>(overlay: string, kind: string) =>
  objectsOf(overlay).filter((object) => object.kind === kind) as T[];
export const named = <T extends Manifest>(overlay: string, kind: string, name: string): T => {
  const found = ofKind<T>(overlay, kind).find((object) => object.metadata.name === name);
  if (found === undefined) throw new Error(`There is no ${kind} ${name} in ${overlay}.`);
  return found;
};
export const workloads = (overlay: string) => [
  ...ofKind<Workload>(overlay, 'Deployment'),
  ...ofKind<Workload>(overlay, 'StatefulSet'),
];
export const deployments = (overlay: string) => ofKind<Workload>(overlay, 'Deployment');
export const containersOf = ({ spec }: Workload) => [
  ...spec.template.spec.containers,
  ...(spec.template.spec.initContainers ?? []),
];
export const podsWith = (overlay: string, labels: Record<string, string>) =>
  workloads(overlay).filter(({ spec }) =>
    Object.entries(labels).every(([key, value]) => spec.template.metadata.labels[key] === value),
  );
