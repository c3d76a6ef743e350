import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ENVIRONMENT_NAMES, loadConfig } from '../../../src/config.ts';
import { type Manifest, mergeByKustomize } from '../../support/kustomize.ts';
import {
  containersOf,
  deployments,
  FOLDER,
  named,
  OVERLAYS,
  objectsOf,
  ofKind,
  podsWith,
  ROOT,
  type Workload,
  workloads,
} from '../../support/manifests.ts';
import { tempDir } from '../../support/temp.ts';

const packageOf = ({ apiVersion, kind }: Manifest) =>
  `${apiVersion.startsWith('keda.sh/') ? '@kubernetes-models/keda' : 'kubernetes-models'}/${apiVersion}/${kind}`;

/** Throws where the schema of the object in the packages of kubernetes-models says no. */
async function validate(object: Manifest): Promise<void> {
  const module = (await import(packageOf(object))) as Record<string, new (data: Manifest) => { validate(): void }>;
  const Model = module[object.kind];
  if (Model === undefined) throw new Error(`There is no schema of ${object.kind}.`);
  new Model(object).validate();
}

/** What TypeScript says of objects written out as those packages' types: these, unlike the schemas, know every field. */
function typeErrors(objects: Manifest[]): string {
  const folder = tempDir('k8s');
  symlinkSync(resolve(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const lines = objects.flatMap((object, index) => [
    `import type { I${object.kind} as T${index} } from '${packageOf(object)}';`,
    `export const o${index}: T${index} = ${JSON.stringify(object)};`,
  ]);
  writeFileSync(join(folder, 'objects.ts'), lines.join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', ''];
  const tsc = resolve(ROOT, 'node_modules/.bin/tsc');
  return spawnSync(tsc, [...options, join(folder, 'objects.ts')], { encoding: 'utf8', cwd: folder }).stdout;
}

const toolPath = (tool: string) => spawnSync('which', [tool], { encoding: 'utf8' }).stdout.trim();

describe.each(OVERLAYS)('deploy/k8s/overlays/%s', (overlay) => {
  const byKustomize = mergeByKustomize(resolve(FOLDER, 'overlays', overlay));
  if (byKustomize !== undefined) {
    it('is merged by the helper of these tests as by kustomize', () => {
      const sorted = (objects: Manifest[]) =>
        Object.fromEntries(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
      expect(sorted(objectsOf(overlay))).toEqual(sorted(byKustomize));
    });
  }

  it('holds valid objects, none twice', async () => {
    for (const object of objectsOf(overlay))
      await expect(validate(object), JSON.stringify(object)).resolves.toBe(undefined);
    expect(typeErrors(objectsOf(overlay))).toBe('');
    const names = objectsOf(overlay).map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names).toEqual([...new Set(names)]);
    expect(
      objectsOf(overlay).every(({ kind, metadata }) => kind === 'Namespace' || metadata.namespace === 'recognize'),
    ).toBe(true);
  });

  it('sets nothing but settings that there are, to values that are taken', () => {
    const settings = named<Manifest & { data: Record<string, string> }>(
      overlay,
      'ConfigMap',
      'recognize-settings',
    ).data;
    for (const workload of deployments(overlay)) {
      for (const { env = [] } of containersOf(workload)) {
        const names = [...Object.keys(settings), ...env.map(({ name }) => name)];
        expect(names.filter((name) => !ENVIRONMENT_NAMES.includes(name))).toEqual([]);
        const plain = Object.fromEntries(
          env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
        );
        const config = loadConfig({ ...settings, ...plain });
        const { terminationGracePeriodSeconds } = workload.spec.template.spec;
        expect(config.worker.graceSeconds + 10).toBeLessThanOrEqual(terminationGracePeriodSeconds);
        expect(config.paths).toMatchObject({
          models: '/models',
          uploads: '/data/uploads',
          tmp: '/tmp/recognize',
          logs: '/logs',
        });
      }
    }
  });

  it('takes secrets only by keys of the example', () => {
    const example = readFileSync(resolve(FOLDER, 'secrets.example.yaml'), 'utf8');
    const { metadata, stringData } = parse(example) as Manifest & { stringData: Record<string, string> };
    const optional = /^ {2}# Optional: (.*)$/m.exec(example)?.[1]?.split(', ') ?? [];
    const taken = workloads(overlay)
      .flatMap(containersOf)
      .flatMap(({ env = [] }) => env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef ?? []));
    expect(taken.length).toBeGreaterThan(0);
    for (const { name, key } of taken) {
      expect(name).toBe(metadata.name);
      expect([...Object.keys(stringData), ...optional]).toContain(key);
    }
  });

  it('runs programs that there are, from the images that are built', () => {
    const main = readFileSync(resolve(ROOT, 'src/main.ts'), 'utf8');
    const roles = deployments(overlay).map(({ spec }) => spec.template.spec.containers[0].args?.join(' '));
    expect(roles.sort()).toEqual(['dashboard', 'web', 'worker:face', 'worker:object']);
    expect(main).toContain('web | dashboard | ');
    for (const { image, command } of deployments(overlay).flatMap(containersOf)) {
      expect(image).toMatch(/^registry\.example\.org\/recognize-(web|worker):\d+\.\d+\.\d+$/);
      expect([undefined, 'node scripts/models.ts pull']).toContain(command?.slice(0, 3).join(' '));
    }
  });

  it('fetches the same models into every pod, by name, and those that are asked for among them', () => {
    const { models } = parse(readFileSync(resolve(ROOT, 'models/manifest.json'), 'utf8')) as {
      models: { name: string; task: string }[];
    };
    const fetched = deployments(overlay).flatMap(({ spec }) => spec.template.spec.initContainers ?? []);
    expect(fetched).toHaveLength(3);
    const names = fetched.map(({ command = [] }) => command.slice(3));
    const [first = []] = names;
    // Only what is named fails the pull where it is missing.
    expect(first.length).toBeGreaterThan(0);
    expect(names).toEqual([first, first, first]);
    const { data } = named<Manifest & { data: Record<string, string> }>(overlay, 'ConfigMap', 'recognize-settings');
    for (const kind of ['face', 'object']) {
      const ofKind = models.filter(({ name, task }) => task === kind && first.includes(name));
      expect(ofKind.map(({ name }) => name)).toContain(data[`${kind.toUpperCase()}_MODEL`]);
    }
    expect(models.map(({ name }) => name)).toEqual(expect.arrayContaining(first));
  });

  it('asks for health where it is answered', () => {
    const config = loadConfig({});
    const ports: Record<string, number> = { web: config.web.port, dashboard: config.dashboard.port };
    for (const { spec } of deployments(overlay)) {
      const [{ args = [], env = [], ports: listens = [], startupProbe, livenessProbe, readinessProbe }] =
        spec.template.spec.containers;
      const healthPort = env.find(({ name }) => name === 'HEALTH_PORT')?.value;
      expect(listens).toHaveLength(1);
      expect(listens[0]?.containerPort).toBe(ports[args[0] ?? ''] ?? Number(healthPort));
      const places = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => [httpGet?.path, httpGet?.port]);
      const port = listens[0]?.name;
      expect(places).toEqual([
        ['/api/health/live', port],
        ['/api/health/live', port],
        ['/api/health/ready', port],
      ]);
    }
  });

  it('gives no container more rights or fewer limits than it needs', () => {
    for (const workload of workloads(overlay)) {
      const { securityContext, volumes } = workload.spec.template.spec;
      expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      const claims = (workload.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
      for (const container of containersOf(workload)) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(Object.keys(container.resources.requests)).toEqual(['cpu', 'memory']);
        expect(container.resources.limits.memory).toBeDefined();
        const there = [...volumes.map(({ name }) => name), ...claims];
        expect(there).toEqual(expect.arrayContaining(container.volumeMounts.map(({ name }) => name)));
      }
    }
  });

  it('has the sizes of the design: face 1 CPU and 2 GB, object 2 CPUs and 4 GB', () => {
    const limits = (name: string) =>
      named<Workload>(overlay, 'Deployment', name).spec.template.spec.containers[0].resources;
    expect(limits('recognize-face-worker')).toMatchObject({
      limits: { cpu: '1', memory: '2Gi' },
      requests: { cpu: '1' },
    });
    expect(limits('recognize-object-worker')).toMatchObject({
      limits: { cpu: '2', memory: '4Gi' },
      requests: { cpu: '2' },
    });
  });

  it('selects pods that there are', () => {
    for (const { spec } of workloads(overlay))
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    type Selecting = Manifest & {
      spec: { selector: Record<string, string> & { matchLabels?: Record<string, string> } };
    };
    for (const kind of ['Service', 'PodDisruptionBudget']) {
      for (const { spec, metadata } of ofKind<Selecting>(overlay, kind)) {
        expect(podsWith(overlay, spec.selector.matchLabels ?? spec.selector), metadata.name).toHaveLength(1);
      }
    }
    const text = JSON.stringify(ofKind(overlay, 'NetworkPolicy'));
    const asked = new Set(
      [...text.matchAll(/"(recognize-(?:web|dashboard|redis|face-worker|object-worker))"/g)].map(([, name]) => name),
    );
    const pods = new Set(workloads(overlay).map(({ metadata }) => metadata.name));
    for (const name of pods) expect(asked).toContain(name);
    const policies = ofKind(overlay, 'NetworkPolicy').map(({ metadata }) => metadata.name);
    for (const name of asked) expect([...pods, ...policies]).toContain(name);
    expect(named(overlay, 'NetworkPolicy', 'recognize-default-deny').spec).toEqual({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
  });

  it('scales what there is, each workload by one rule', () => {
    type Autoscaler = Manifest & { spec: { scaleTargetRef: { name: string } } };
    const scalers = [
      ...ofKind<Autoscaler>(overlay, 'HorizontalPodAutoscaler'),
      ...ofKind<Autoscaler>(overlay, 'ScaledObject'),
    ];
    const targets = scalers.map(({ spec }) => spec.scaleTargetRef.name).sort();
    expect(targets).toEqual(['recognize-face-worker', 'recognize-object-worker', 'recognize-web']);
    for (const name of targets) expect(named(overlay, 'Deployment', name).spec).not.toHaveProperty('replicas');
    const budgets = ofKind(overlay, 'PodDisruptionBudget')
      .map(({ metadata }) => metadata.name)
      .sort();
    expect(budgets).toEqual(targets);
  });

  it('mounts claims that there are', () => {
    const claims = ofKind(overlay, 'PersistentVolumeClaim').map(({ metadata }) => metadata.name);
    for (const { spec } of deployments(overlay)) {
      const wanted = spec.template.spec.volumes.flatMap(({ persistentVolumeClaim: claim }) =>
        claim ? [claim.claimName] : [],
      );
      expect(wanted).toEqual(claims);
    }
  });
});

it('gives Redis the memory that its maxmemory needs', () => {
  const redis = containersOf(named<Workload>('small', 'StatefulSet', 'recognize-redis'))[0];
  const maxBytes = Number(/--maxmemory (\d+)mb/.exec(redis?.command?.join(' ') ?? '')?.[1]) * 2 ** 20;
  const bytes = (text = '') => Number(/^(\d+)Gi$/.exec(text)?.[1]) * 2 ** 30;
  expect(bytes(redis?.resources.requests.memory)).toBeGreaterThan(1.25 * maxBytes);
  expect(bytes(redis?.resources.limits.memory)).toBeGreaterThan(2 * maxBytes);
});

it('mounts the authority of a managed Redis where there is one, and starts without', () => {
  for (const { spec } of deployments('large')) {
    const { volumes, containers } = spec.template.spec;
    expect(volumes).toContainEqual({ name: 'redis-ca', secret: { secretName: 'recognize-redis-ca', optional: true } });
    expect(containers[0].volumeMounts).toContainEqual({
      name: 'redis-ca',
      mountPath: '/etc/recognize/redis-ca',
      readOnly: true,
    });
  }
  const { data } = named<Manifest & { data: object }>('large', 'ConfigMap', 'recognize-settings');
  expect(data).not.toHaveProperty('REDIS_CA_FILE');
});

describe.each([
  [
    'small',
    containersOf(named<Workload>('small', 'StatefulSet', 'recognize-redis'))[0]?.command ?? [],
    'REDISCLI_AUTH',
  ],
  ['Compose', ['sh', resolve(ROOT, 'deploy/compose/redis/start-redis.sh')], 'REDIS_PASSWORD'],
])('the Redis of %s', (_, [program = '', ...words], variable) => {
  const example = parse(readFileSync(resolve(FOLDER, 'secrets.example.yaml'), 'utf8')) as {
    stringData: Record<string, string>;
  };

  it.each([
    [example.stringData.REDIS_PASSWORD, 'shorter than 12 characters'],
    ['abc123', 'shorter than 12 characters'],
    ['aaaaaaaaaaaa', 'one of those that are tried first'],
    ['password1234', 'one of those that are tried first'],
    ['ChangeMe-2026', 'one of those that are tried first'],
    ['change_me_change_me', 'one of those that are tried first'],
    ['recognize-redis', 'one of those that are tried first'],
    ['1234567890123', 'one of those that are tried first'],
  ])('does not start with the password %s', (password, problem) => {
    // Nothing but what the check itself needs: what goes through would start a Redis.
    const bin = tempDir('bin');
    for (const tool of ['sh', 'grep']) symlinkSync(toolPath(tool), join(bin, tool));
    const env = { PATH: bin, [variable]: password };
    const { status, stderr } = spawnSync(program, words, { encoding: 'utf8', env });
    expect(status).toBe(78);
    expect(stderr).toMatch(new RegExp(`^Wrong setting: REDIS_PASSWORD .*is ${problem}\\..*\n$`));
  });
});

it('lets web and workers reach a collector of traces, in a namespace that is marked, and nobody else there', () => {
  const { spec } = named<Manifest & { spec: object }>('small', 'NetworkPolicy', 'recognize-to-collector');
  expect(spec).toMatchObject({
    policyTypes: ['Egress'],
    egress: [
      {
        to: [{ namespaceSelector: { matchLabels: { 'recognize-collector': 'true' } } }],
        ports: [{ protocol: 'TCP', port: 4318 }],
      },
    ],
  });
  expect(JSON.stringify(spec)).toMatch(/recognize-web.*recognize-face-worker.*recognize-object-worker/);
  expect(JSON.stringify(spec)).not.toMatch(/dashboard|redis/);
});

it('types refuse a field that is misspelt', () => {
  const service = named<Manifest & { spec: object }>('small', 'Service', 'recognize-web');
  expect(typeErrors([{ ...service, spec: { ...service.spec, clusterIp: 'None' } }])).toMatch(/clusterIp/);
  const scaled = named<Manifest & { spec: object }>('large', 'ScaledObject', 'recognize-face-worker');
  expect(typeErrors([{ ...scaled, spec: { ...scaled.spec, minReplicas: 1 } }])).toMatch(/minReplicas/);
});

it('the schemas refuse what is wrong', async () => {
  const service = named('small', 'Service', 'recognize-web');
  await expect(validate({ ...service, spec: { ports: [{ port: 'http' }] } })).rejects.toThrow();
  const scaled = named('large', 'ScaledObject', 'recognize-face-worker');
  await expect(validate({ ...scaled, spec: { triggers: [] } })).rejects.toThrow();
});
