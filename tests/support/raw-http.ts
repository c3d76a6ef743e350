import { connect } from 'node:net';

export type RawAnswer = { status: number; headers: Record<string, string>; body: string };

export type RawConnection = {
  write(data: string | Uint8Array): Promise<void>;
  /** The answer once the server has sent all of it; rejects where it hangs up before. */
  answer(): Promise<RawAnswer>;
  /** Resolves when the server has hung up. */
  closed: Promise<void>;
  /** Hangs up without a word. */
  destroy(): void;
};

function parseAnswer(bytes: Buffer): RawAnswer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const [statusLine = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  if (status === 100) return parseAnswer(bytes.subarray(headEnd + 4));
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = bytes.subarray(headEnd + 4);
  if (body.length < Number(headers['content-length'] ?? 0)) return undefined;
  return { status, headers, body: body.toString() };
}

/** A connection on which exactly what a test writes is sent, as no well-behaved client would. */
export function openRaw(url: string): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = Buffer.alloc(0);
  const answered = Promise.withResolvers<RawAnswer>();
  answered.promise.catch(() => undefined);
  const hungUp = Promise.withResolvers<void>();
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    const answer = parseAnswer(received);
    if (answer !== undefined) answered.resolve(answer);
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    answered.reject(new Error(`The server hung up after ${received.length} bytes.`));
    hungUp.resolve();
  });
  return {
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) => (error ? reject(error) : resolve()));
      }),
    answer: () => answered.promise,
    closed: hungUp.promise,
    destroy: () => void socket.destroy(),
  };
}

export const BOUNDARY = 'boundary-of-a-test';

/** Head of a detection request; the body is the caller's to write. */
export function requestHead(route: string, headers: Record<string, string | number> = {}): string {
  const all = {
    Host: 'recognize',
    'Content-Type': `multipart/form-data; boundary=${BOUNDARY}`,
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /api/detect/${route} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** A part of a multipart body up to its content. */
export function partHead(disposition: string, type?: string): string {
  return `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n${type === undefined ? '' : `Content-Type: ${type}\r\n`}\r\n`;
}

export const BODY_END = `\r\n--${BOUNDARY}--\r\n`;
