import type { RequestHandler, Router } from 'express';
import { errorEnvelope } from '../contract/envelope.ts';
import type { TaskResult } from '../contract/results.ts';
import { AppError } from '../errors.ts';
import { annotateImage } from '../media/annotate.ts';
import { boxesToDraw } from '../media/boxes-to-draw.ts';
import { isImageMime, mimeOfName } from '../media/media-types.ts';
import { parseName, type StoredName, urlOf } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';
import { addRoute } from './http.ts';

const FILE_HEADERS = {
  'Content-Security-Policy': 'sandbox',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'private, max-age=3600',
  'Content-Disposition': 'inline',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

/** The status is 416, for which the contract has no code of its own. */
const outOfRange = () => new AppError('BAD_REQUEST', 'The file has no bytes in this range.');

const notFound = () => new AppError('NOT_FOUND', 'There is no such file, or it has expired.');

const DETECTION_TYPES: Record<string, string> = { json: 'application/json', ndjson: 'application/x-ndjson' };

/** Type by the name; undefined for what is never served. */
function servedType(name: string, { role, extension }: StoredName): string | undefined {
  return role === 'detections' ? DETECTION_TYPES[extension] : mimeOfName(name);
}

export type ResultLookup = (base: string) => Promise<TaskResult | undefined>;

/** Draws annotated copies that somebody asks for, few at a time; requests for one copy share the work. */
function annotatedCopies(storage: Storage, resultOf: ResultLookup, pixels: number) {
  const underWay = new Map<string, Promise<void>>();

  async function draw(name: string, { base }: StoredName): Promise<void> {
    const result = await resultOf(base);
    if (result === undefined || !('image' in result) || result.annotated_image !== urlOf(name)) throw notFound();
    const original = parseName(result.original_image.slice(urlOf('').length));
    const mime = original === undefined ? undefined : mimeOfName(result.original_image);
    if (original === undefined || mime === undefined || !isImageMime(mime)) throw notFound();
    const source = `${base}.${original.extension}`;
    if (!(await storage.has(source))) throw notFound();
    const target = storage.temporaryPath();
    const boxes = boxesToDraw('faces' in result ? { faces: result.faces } : { objects: result.objects });
    try {
      await annotateImage({ source: storage.localPath(source), mime, boxes }, target, { pixels });
      await storage.commit(target, name);
    } catch (error) {
      await storage.discard(target);
      throw error;
    }
  }

  return (name: string, parsed: StoredName): Promise<void> => {
    const earlier = underWay.get(name);
    if (earlier !== undefined) return earlier;
    const drawing = draw(name, parsed).finally(() => underWay.delete(name));
    underWay.set(name, drawing);
    return drawing;
  };
}

/** `GET /api/uploads/:name`: originals and annotated copies, by the names that results give. */
export function addFileRoutes(router: Router, storage: Storage, resultOf: ResultLookup, pixels: number): void {
  const drawAnnotated = annotatedCopies(storage, resultOf, pixels);

  const serve: RequestHandler<{ name: string }> = async (request, response) => {
    const { name } = request.params;
    const parsed = parseName(name);
    const mime = parsed === undefined ? undefined : servedType(name, parsed);
    if (parsed === undefined || mime === undefined) throw notFound();
    if (!(await storage.has(name))) {
      if (parsed.role !== 'annotated') throw notFound();
      await drawAnnotated(name, parsed);
    }
    const headers = { ...FILE_HEADERS, 'Content-Type': mime };
    await new Promise<void>((resolve, reject) => {
      const options = { root: storage.folder, cacheControl: false, headers };
      response.sendFile(name, options, (error?: NodeJS.ErrnoException & { status?: number }) => {
        if (error === undefined || error === null || response.headersSent || error.code === 'ECONNABORTED')
          return resolve();
        for (const header of ['Content-Type', 'Content-Disposition', 'Cache-Control']) response.removeHeader(header);
        if (error.status !== 416) return reject(error.status === 404 ? notFound() : error);
        response.status(416).json(errorEnvelope(outOfRange()));
        resolve();
      });
    });
  };

  addRoute(router, '/uploads/:name', { get: serve as RequestHandler });
}
