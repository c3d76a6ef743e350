import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import { AppError } from '../errors.ts';
import { readByteRange } from '../http/byte-range.ts';
import { taskNotFound } from '../queue/failure.ts';
import type { TaskLookup } from '../queue/task-lookup.ts';
import { readJobData, unreadablePart } from '../queue/task-view.ts';
import { detectionsName, parseName } from '../storage/names.ts';

/** Where files of tasks are read from. */
export type FileSource = {
  /** Undefined where there is no such file here. */
  open(name: string): Promise<{ bytes: number; read(from: number, to: number): AsyncIterable<Uint8Array> } | undefined>;
  /** Removes a file and all that was made of it. */
  removeAll(name: string): Promise<void>;
};

/** What clients sent is shown and never run. */
const HEADERS = {
  'Content-Security-Policy': 'sandbox',
  'X-Content-Type-Options': 'nosniff',
  'Content-Disposition': 'inline',
  'Cache-Control': 'private, max-age=300',
  'Accept-Ranges': 'bytes',
};

const SHOWN = /^(image\/(jpeg|png|webp|gif|tiff|avif|bmp)|video\/[\w.+-]+)$/;
const ANNOTATED_TYPES: Record<string, string> = {
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  mp4: 'video/mp4',
};

const notHere = () =>
  new AppError(
    'NOT_FOUND',
    'The file is not where this dashboard looks (UPLOAD_FOLDER or STORAGE_URL), or has not been made.',
  );

/** Name and type of a task's file. @throws AppError TASK_NOT_FOUND, NOT_FOUND */
async function nameOf(lookup: TaskLookup, taskId: string, role: string): Promise<{ name: string; mime: string }> {
  const found = await lookup.load(taskId, null);
  if (found === undefined) throw taskNotFound();
  const data = found.stored && readJobData(found.stored.job);
  const unreadable = data === undefined && found.stored && unreadablePart(found.stored.job);
  if (unreadable) throw unreadable;
  if (data === undefined || found.task.state === 'REVOKED') throw notHere();
  const { name, mime } = data.file;
  if (role === 'original') return { name, mime: SHOWN.test(mime) ? mime : 'application/octet-stream' };
  if (role === 'annotated' && data.annotated !== null) {
    const type = ANNOTATED_TYPES[parseName(data.annotated)?.extension ?? ''];
    if (type !== undefined) return { name: data.annotated, mime: type };
  }
  if (role === 'detections' && data.media === 'video') {
    return { name: detectionsName(parseName(name)?.base ?? '', 'json'), mime: 'application/json' };
  }
  throw notHere();
}

/** Sends a task's file, or the part of it that is asked for. @throws AppError TASK_NOT_FOUND, NOT_FOUND */
export async function sendTaskFile(
  { files, lookup }: { files: FileSource; lookup: TaskLookup },
  taskId: string,
  role: string,
  request: Request,
  response: Response,
): Promise<void> {
  const { name, mime } = await nameOf(lookup, taskId, role);
  const file = await files.open(name);
  if (file === undefined) throw notHere();
  const range = readByteRange(request.get('range'), file.bytes);
  response.set({ ...HEADERS, 'Content-Type': mime });
  if (range === null) {
    response.status(416).set('Content-Range', `bytes */${file.bytes}`).end();
    return;
  }
  const { from, to } = range ?? { from: 0, to: file.bytes };
  if (range !== undefined) response.status(206).set('Content-Range', `bytes ${from}-${to - 1}/${file.bytes}`);
  response.set('Content-Length', String(to - from));
  if (request.method === 'HEAD' || file.bytes === 0) {
    response.end();
    return;
  }
  // Who hangs up in the middle is no fault of ours.
  await pipeline(Readable.from(file.read(from, to)), response).catch(() => response.destroy());
}
