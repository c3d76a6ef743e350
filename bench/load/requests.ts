import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Kind } from '../../src/contract/kinds.ts';

/** Longest wait that the service grants, in seconds. */
export const WAIT_SECONDS = 60;

const BOUNDARY = 'recognize-bench-e3f1c58a';

export type PostOptions = {
  /** Options of the detection, as query parameters. */
  query?: Record<string, string>;
  /** Asks for the finished task instead of 202. */
  wait: boolean;
};

/** A whole `POST /api/detect/<kind>/image` of one picture, ready to be sent again and again. */
export async function preparePost(kind: Kind, picture: string, { query = {}, wait }: PostOptions): Promise<Buffer> {
  const body = Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${basename(picture)}"\r\n` +
        'Content-Type: image/jpeg\r\n\r\n',
    ),
    await readFile(picture),
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ]);
  const parameters = new URLSearchParams(query).toString();
  const head = [
    `POST /api/detect/${kind}/image${parameters === '' ? '' : `?${parameters}`} HTTP/1.1`,
    'Host: localhost',
    `Content-Type: multipart/form-data; boundary=${BOUNDARY}`,
    `Content-Length: ${body.length}`,
    ...(wait ? [`Prefer: wait=${WAIT_SECONDS}`] : []),
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

/** A whole GET request. */
export function prepareGet(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
}
