import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './service.ts';
import { tempDir } from './temp.ts';
import { waitFor } from './wait-for.ts';

export type RedisServer = {
  port: number;
  folder: string;
  pid(): number;
  /** A client of its own, that does not try again; `stop` ends it. */
  client(): Redis;
  kill9(): Promise<void>;
  /** Starts it again on the same port and data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

type ServerOptions = {
  /** Lines of its configuration file beyond folder and port. */
  lines?: readonly string[];
  /** What clients present. */
  secrets?: { username?: string; password?: string; tls?: { ca: Buffer; servername: string } };
  sentinel?: boolean;
};

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Runs redis-server, or a sentinel, on a port of this machine until it is stopped. */
export async function startServer({ lines = [], secrets = {}, sentinel = false }: ServerOptions): Promise<RedisServer> {
  const port = await freePort();
  const folder = tempDir('rs');
  const configuration = join(folder, 'redis.conf');
  const listen = secrets.tls === undefined ? [`port ${port}`] : ['port 0', `tls-port ${port}`];
  const common = [
    'bind 127.0.0.1',
    `dir ${folder}`,
    ...listen,
    ...(sentinel ? [] : ['save ""', 'repl-diskless-sync-delay 0']),
  ];
  writeFileSync(configuration, `${[...common, ...lines].join('\n')}\n`);
  const clients = new Set<Redis>();
  let child: ChildProcess;

  function client(): Redis {
    const made = new Redis({ host: '127.0.0.1', port, ...secrets, maxRetriesPerRequest: 1, retryStrategy: () => null });
    made.on('error', () => undefined);
    clients.add(made);
    return made;
  }

  async function start(): Promise<void> {
    const started = spawn('redis-server', [configuration, ...(sentinel ? ['--sentinel'] : [])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child = started;
    running.add(started);
    let output = '';
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    started.once('exit', () => running.delete(started));
    await waitFor('a redis-server', async () => {
      if (started.exitCode !== null) throw new Error(output);
      const probe = client();
      try {
        return (await probe.ping()) === 'PONG';
      } finally {
        probe.disconnect();
        clients.delete(probe);
      }
    });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    child.kill(signal);
    await once(child, 'exit');
  }

  await start();
  return {
    port,
    folder,
    client,
    pid: () => Number(child.pid),
    kill9: () => end('SIGKILL'),
    restart: start,
    async stop() {
      for (const made of clients) made.disconnect();
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
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
  servers: RedisServer[];
  sentinels: RedisServer[];
  /** The server that the sentinels hold for the master. */
  master(): Promise<RedisServer>;
  stop(): Promise<void>;
};

const stopAll = (servers: RedisServer[]) => Promise.all(servers.map((server) => server.stop()));

const DURABLE = ['appendonly yes', 'appendfsync everysec', 'maxmemory-policy noeviction'];

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
  nodes: RedisServer[];
  owner: RedisServer;
  replica: RedisServer;
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
