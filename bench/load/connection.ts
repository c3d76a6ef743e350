import { once } from 'node:events';
import { connect } from 'node:net';

export type Answer = { status: number; body: string };

/** One kept-alive HTTP/1.1 connection that carries one request at a time. */
export type Connection = {
  /** @param request a whole request: head and body */
  send(request: Buffer): Promise<Answer>;
  close(): void;
};

const HEAD_END = '\r\n\r\n';

/** The answer that `bytes` hold, undefined while they do not hold all of it. */
function parseAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd === -1) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer without Content-Length: ${head.split('\r\n', 1)[0]}`);
  const start = headEnd + HEAD_END.length;
  if (bytes.length < start + Number(length)) return undefined;
  return { status: Number(head.slice(9, 12)), body: bytes.toString('utf8', start) };
}

/**
 * Opens a connection. Sending prepared bytes over a bare socket costs a third of what an HTTP client costs, which
 * matters where the load generator shares the cores with what it measures.
 *
 * @throws Error when the server is not there, and from `send` when it hangs up
 */
export async function openConnection(url: string): Promise<Connection> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  let received: Buffer = Buffer.alloc(0);
  let waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;

  const fail = (error: Error) => {
    waiting?.reject(error);
    waiting = undefined;
  };
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the server closed the connection')));
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    try {
      const answer = parseAnswer(received);
      if (answer === undefined) return;
      received = Buffer.alloc(0);
      const asker = waiting;
      waiting = undefined;
      asker?.resolve(answer);
    } catch (error) {
      fail(error as Error);
    }
  });

  return {
    send: (request) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('the connection is closed'));
        waiting = { resolve, reject };
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}
