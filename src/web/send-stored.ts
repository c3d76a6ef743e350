import { once } from 'node:events';
import type { Request, Response } from 'express';
import { errorEnvelope } from '../contract/envelope.ts';
import { AppError } from '../errors.ts';
import { readByteRange } from '../http/byte-range.ts';
import type { StoredContent } from '../storage/storage.ts';

/** The status is 416, for which the contract has no code of its own. */
const outOfRange = () => new AppError('BAD_REQUEST', 'The file has no bytes in this range.');

/** Headers that speak of the file and not of an error in its place. */
const OF_THE_FILE = [
  'Accept-Ranges',
  'Cache-Control',
  'Content-Disposition',
  'Content-Length',
  'Content-Range',
  'Content-Type',
  'ETag',
  'Last-Modified',
];

function forgetFile(response: Response): void {
  for (const header of OF_THE_FILE) response.removeHeader(header);
}

/** A file never changes under its name, but it may be drawn anew. */
const tagOf = ({ bytes, modifiedAt }: StoredContent) => `"${bytes.toString(16)}-${modifiedAt.getTime().toString(16)}"`;

/** Whether the part that is asked for is one of the file as the client knows it (RFC 9110, 13.1.5). */
function isSameFile(request: Request, response: Response): boolean {
  const known = request.get('if-range');
  return known === undefined || known === response.get('ETag') || known === response.get('Last-Modified');
}

async function write(response: Response, chunks: AsyncIterable<Uint8Array>, gone: AbortSignal): Promise<void> {
  for await (const chunk of chunks) {
    if (gone.aborted) return;
    if (!response.write(chunk)) await once(response, 'drain', { signal: gone });
  }
  response.end();
}

/**
 * Sends a stored file, or a part of it, as the request asks: Range, If-Range, If-None-Match, If-Modified-Since and HEAD.
 * The caller has set the headers that say what it is.
 *
 * @param gone aborts when the client hangs up
 * @throws what reading throws before the first byte is sent; later the connection is cut
 */
export async function sendStored(
  request: Request,
  response: Response,
  content: StoredContent,
  gone: AbortSignal,
): Promise<void> {
  const { bytes, modifiedAt } = content;
  response.set({
    'Accept-Ranges': 'bytes',
    'Last-Modified': modifiedAt.toUTCString(),
    ETag: tagOf(content),
  });
  if (request.fresh) {
    for (const header of ['Content-Type', 'Content-Length']) response.removeHeader(header);
    response.status(304).end();
    return;
  }
  const part = isSameFile(request, response) ? readByteRange(request.get('range'), bytes) : undefined;
  if (part === null) {
    forgetFile(response);
    response.set('Content-Range', `bytes */${bytes}`).status(416).json(errorEnvelope(outOfRange()));
    return;
  }
  const { from, to } = part ?? { from: 0, to: bytes };
  if (part !== undefined) response.status(206).set('Content-Range', `bytes ${from}-${to - 1}/${bytes}`);
  response.set('Content-Length', String(to - from));
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  try {
    await write(response, content.read(from, to), gone);
  } catch (error) {
    if (gone.aborted) return;
    if (response.headersSent) response.destroy();
    else forgetFile(response);
    throw error;
  }
}
