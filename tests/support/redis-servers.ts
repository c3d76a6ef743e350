import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { DURABLE, type RedisServer, runRedisServer, type Secrets } from './redis-server.ts';
import { freePort } from './service.ts';
import { tempDir } from './temp.ts';
import { waitFor } from './wait-for.ts';

export type PortServer = RedisServer & { port: number };

type ServerOptions = {
  /** Lines of its configuration file beyond folder and port. */
  lines?: readonly string[];
  secrets?: Secrets;
  sentinel?: boolean;
};

/** Runs redis-server, or a sentinel, on a port of this machine until it is stopped. */
export async function startServer({ lines = [], secrets = {}, sentinel = false }: ServerOptions): Promise<PortServer> {
  const port = await freePort();
  const listen = secrets.tls === undefined ? [`port ${port}`] : ['port 0', `tls-port ${port}`];
  const settings = ['bind 127.0.0.1', ...listen, ...(sentinel ? [] : ['repl-diskless-sync-delay 0']), ...lines];
  const server = await runRedisServer(settings, tempDir('rs'), { host: '127.0.0.1', port, ...secrets }, { sentinel });
  return { ...server, port };
}

/** An authority, and a certificate of its own for localhost but for no address, made by openssl. */
export function makeCertificates(): { ca: string; cert: string; key: string } {
  const folder = tempDir('tls');
  const path = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const key = (name: string) => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    path(name),
  ];
  openssl('req', '-x509', ...key('ca.key'), '-out', path('ca.pem'), '-days', '2', '-subj', '/CN=Test authority');
  openssl(
    ...['req', '-x509', ...key('server.key'), '-out', path('server.pem'), '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost', '-CA', path('ca.pem'), '-CAkey', path('ca.key')],
  );
  return { ca: path('ca.pem'), cert: path('server.pem'), key: path('server.key') };
}

export type SentinelSet = {
  url: string;
  servers: PortServer[];
  sentinels: PortServer[];
  /** The server that the sentinels hold for the master. */
  master(): Promise<PortServer>;
  stop(): Promise<void>;
};

const stopAll = (servers: PortServer[]) => Promise.all(servers.map((server) => server.stop()));

/** A master with one replica, and three sentinels over them; the password is that of the servers alone. */
export async function startSentinelSet(password: string): Promise<SentinelSet> {
  const lines = [...DURABLE, `requirepass ${password}`, `masterauth ${password}`];
  const first = await startServer({ lines, secrets: { password } });
  const [second, ...sentinels] = await Promise.all([
    startServer({ lines: [...lines, `replicaof 127.0.0.1 ${first.port}`], secrets: { password } }),
    ...Array.from({ length: 3 }, () =>
      startServer({
        sentinel: true,
        lines: [
          `sentinel monitor main 127.0.0.1 ${first.port} 2`,
          `sentinel auth-pass main ${password}`,
          'sentinel down-after-milliseconds main 1000',
          'sentinel failover-timeout main 5000',
        ],
      }),
    ),
  ]);
  const clients = sentinels.map((sentinel) => sentinel.client());
  await waitFor(
    'the sentinels to know each other and the replica',
    async () => {
      const views = await Promise.all(clients.map((client) => client.info('sentinel')));
      return views.every((view) => /slaves=1,sentinels=3/.test(view));
    },
    { timeoutMs: 20_000 },
  );
  const servers = [first, second];
  return {
    url: `redis-sentinel://:${password}@${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main`,
    servers,
    sentinels,
    async master() {
      const address = await clients[0]?.call('SENTINEL', 'get-master-addr-by-name', 'main');
      const port = Array.isArray(address) ? Number(address[1]) : undefined;
      const found = servers.find((server) => server.port === port);
      if (found === undefined) throw new Error('The sentinels name a stranger.');
      return found;
    },
    stop: async () => void (await stopAll([...sentinels, ...servers])),
  };
}

export type TestCluster = {
  url: string;
  /** Three masters, then one replica of the master that serves the keys with the given tag. */
  nodes: PortServer[];
  owner: PortServer;
  replica: PortServer;
  stop(): Promise<void>;
};

const SLOTS = 16_384;

/** Three masters and a replica of the one that serves `tag`. */
export async function startCluster(tag: string, password: string): Promise<TestCluster> {
  const lines = [
    ...DURABLE,
    `requirepass ${password}`,
    `masterauth ${password}`,
    'cluster-enabled yes',
    'cluster-node-timeout 1500',
    'cluster-replica-validity-factor 0',
  ];
  const nodes = await Promise.all(Array.from({ length: 4 }, () => startServer({ lines, secrets: { password } })));
  const clients = nodes.map((node) => node.client());
  const [first] = clients;
  if (first === undefined) throw new Error('There is no first node.');
  const slot = await first.cluster('KEYSLOT', tag);
  const share = Math.ceil(SLOTS / 3);
  for (const [index, client] of clients.entries()) {
    if (index < 3) await client.cluster('ADDSLOTSRANGE', index * share, Math.min(SLOTS, (index + 1) * share) - 1);
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    if (index > 0) await first.cluster('MEET', '127.0.0.1', nodes[index]?.port ?? 0);
  }
  const ownerIndex = Math.floor(slot / share);
  const [owner, replica] = [nodes[ownerIndex], nodes[3]];
  const [ownerClient, replicaClient] = [clients[ownerIndex], clients[3]];
  if (!owner || !replica || !ownerClient || !replicaClient) throw new Error('Four nodes were started.');
  const patience = { timeoutMs: 20_000 };
  await waitFor(
    'all nodes to know each other',
    async () => {
      const views = await Promise.all(clients.map((client) => client.call('CLUSTER', 'NODES')));
      return views.every((view) => String(view).trim().split('\n').length === 4 && !/handshake/.test(String(view)));
    },
    patience,
  );
  const ownerId = String(await ownerClient.call('CLUSTER', 'MYID'));
  await waitFor(
    'the replica to be one',
    async () => {
      await replicaClient.call('CLUSTER', 'REPLICATE', ownerId).catch(() => undefined);
      const [replicas, view] = await Promise.all([ownerClient.info('replication'), first.call('CLUSTER', 'INFO')]);
      return /slave0:.*state=online/.test(replicas) && /cluster_state:ok/.test(String(view));
    },
    patience,
  );
  return {
    url: `redis-cluster://:${password}@${nodes
      .slice(0, 3)
      .map(({ port }) => `127.0.0.1:${port}`)
      .join(',')}`,
    nodes,
    owner,
    replica,
    stop: async () => void (await stopAll(nodes)),
  };
}
