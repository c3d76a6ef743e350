import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/queue/keys.ts';
import { connectFailFast, connectPatient, disconnect, type RedisSettings } from '../../src/queue/redis.ts';
import { makeCertificates, type PortServer, startServer } from '../support/redis-servers.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWebOn } from '../support/web.ts';
import { expectWholeApi } from '../support/whole-api.ts';

const PASSWORD = 'tls-pass/word';
const log = pino({ level: 'silent' });

describe.skipIf(!requireShared())('Redis behind TLS', () => {
  let server: PortServer;
  let ca: string;
  const url = (password: string) => `rediss://:${encodeURIComponent(password)}@localhost:${server.port}/1`;
  /** Lines and secrets of a server with TLS. */
  let withTls: { lines: string[]; secrets: { password: string; tls: { ca: Buffer; servername: string } } };
  beforeAll(async () => {
    const made = makeCertificates();
    ca = made.ca;
    withTls = {
      lines: [
        `tls-ca-cert-file ${ca}`,
        `tls-cert-file ${made.cert}`,
        `tls-key-file ${made.key}`,
        'tls-auth-clients no',
        `requirepass ${PASSWORD}`,
      ],
      secrets: { password: PASSWORD, tls: { ca: readFileSync(ca), servername: 'localhost' } },
    };
    server = await startServer(withTls);
  });
  afterAll(() => server?.stop());

  it('serves everything', async () => {
    const settings = { REDIS_URL: url(PASSWORD), REDIS_CA_FILE: ca, API_RATE_LIMIT: '5000 per hour' };
    const web = await startWebOn(settings);
    try {
      await expectWholeApi(web);
    } finally {
      await web.stop();
    }
  });

  it.each([
    ['an authority that is not known', () => ({ url: url(PASSWORD), caFile: undefined }), /certificate|self.signed/i],
    ['a wrong password', () => ({ url: url('not-the-one'), caFile: ca }), /WRONGPASS/],
  ])('%s is logged as the reason, without the password', async (_, settings, reason) => {
    const lines: string[] = [];
    const client = connectFailFast(settings(), pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }));
    await waitFor('the reason', () => lines.some((line) => reason.test(line)));
    expect(lines.join('')).not.toMatch(/not-the-one|tls-pass/);
    await expect(client.get('a')).rejects.toThrow();
    await disconnect(client);
  });

  async function expectToServe(settings: RedisSettings): Promise<void> {
    const client = connectPatient(settings, log);
    try {
      await client.set(KEYS.sweepLease(), '1');
      expect(await client.get(KEYS.sweepLease())).toBe('1');
    } finally {
      await disconnect(client);
    }
  }

  it('is found in a cluster that announces addresses which its certificates do not name', async () => {
    const { lines, secrets } = withTls;
    const node = await startServer({ lines: [...lines, 'cluster-enabled yes', 'tls-cluster yes'], secrets });
    await node.client().cluster('ADDSLOTSRANGE', 0, 16_383);
    await expectToServe({
      url: `rediss-cluster://:${encodeURIComponent(PASSWORD)}@localhost:${node.port}`,
      caFile: ca,
    });
    await node.stop();
  });

  it('is found through a sentinel behind TLS with the same password', async () => {
    const { lines, secrets } = withTls;
    const watch = [
      'sentinel resolve-hostnames yes',
      'sentinel announce-hostnames yes',
      `sentinel monitor main localhost ${server.port} 1`,
      `sentinel auth-pass main ${PASSWORD}`,
    ];
    const sentinel = await startServer({ sentinel: true, lines: [...lines, 'tls-replication yes', ...watch], secrets });
    const host = `localhost:${sentinel.port}`;
    await expectToServe({ url: `rediss-sentinel://:${encodeURIComponent(PASSWORD)}@${host}/main/2`, caFile: ca });
    await sentinel.stop();
  });
});
