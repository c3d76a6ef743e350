import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from 'node:net';

export type TcpProxy = {
  port: number;
  /** `redis://127.0.0.1:<port>` */
  url: string;
  /** What is connected now hears nothing any more and is not closed either, as behind a pulled cable. */
  silence(): void;
  /** From now on nothing that the server says arrives; what clients say does. */
  holdReplies(): void;
  /** What has been held arrives, and all that comes after it. */
  letThrough(): void;
  /** Connections there have been. */
  count(): number;
  stop(): Promise<void>;
};

/** Passes connections on to a server of this machine, unless it is told otherwise. */
export async function startTcpProxy(to: NetConnectOpts): Promise<TcpProxy> {
  const pairs = new Set<{ near: Socket; far: Socket }>();
  let held = false;
  let count = 0;
  const server = createServer((near) => {
    count++;
    const far = connect(to);
    const pair = { near, far };
    pairs.add(pair);
    for (const socket of [near, far]) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    if (!held) far.pipe(near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    silence() {
      for (const { near, far } of pairs) {
        near.unpipe(far);
        far.unpipe(near);
        // What arrives is swallowed, as by a peer that is gone.
        near.resume();
        far.resume();
      }
    },
    holdReplies() {
      held = true;
      for (const { near, far } of pairs) far.unpipe(near).pause();
    },
    letThrough() {
      held = false;
      for (const { near, far } of pairs) far.pipe(near);
    },
    count: () => count,
    async stop() {
      for (const socket of [...pairs].flatMap(({ near, far }) => [near, far])) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
