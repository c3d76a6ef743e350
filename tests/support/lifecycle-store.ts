import { createHash } from 'node:crypto';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export type LifecycleStore = {
  endpoint: string;
  /** The rules as they were last written, undefined before. */
  rules(): string | undefined;
  /** How often they were written. */
  writes(): number;
  /** Puts rules there that somebody else has made. */
  given(rules: string): void;
  stop(): Promise<void>;
};

const errorBody = (code: string) =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;

/**
 * What s3rver lacks in front of it: it takes a bucket's lifecycle rules as AWS and Ceph do, with an MD5 sum only, and
 * gives them back; all else it passes on to `behind`.
 */
export async function startLifecycleStore(behind: string): Promise<LifecycleStore> {
  let rules: string | undefined;
  let writes = 0;
  const server = createServer(async (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', behind);
    if (!searchParams.has('lifecycle')) {
      const options = { method: req.method ?? 'GET', headers: req.headers };
      const passed = request(new URL(req.url ?? '/', behind), options, (answer) => {
        res.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(res);
      });
      req.pipe(passed);
      passed.on('error', () => res.destroy());
      return;
    }
    const answer = (status: number, body = '') => {
      res.writeHead(status, { 'content-type': 'application/xml' });
      res.end(body);
    };
    const body = await buffer(req);
    if (pathname.split('/').filter(Boolean).length !== 1) return answer(400, errorBody('InvalidRequest'));
    if (req.method === 'GET')
      return rules === undefined ? answer(404, errorBody('NoSuchLifecycleConfiguration')) : answer(200, rules);
    const sum = createHash('md5').update(body).digest('base64');
    if (req.headers['content-md5'] !== sum) return answer(400, errorBody('InvalidRequest'));
    rules = body.toString();
    writes++;
    answer(200);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rules: () => rules,
    writes: () => writes,
    given(others) {
      rules = others;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
