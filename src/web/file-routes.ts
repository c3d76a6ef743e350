import type { RequestHandler, Router } from 'express';
import pLimit from 'p-limit';
import type { TaskResult } from '../contract/results.ts';
import { AppError } from '../errors.ts';
import { annotateImage } from '../media/annotate.ts';
import { boxesToDraw } from '../media/boxes-to-draw.ts';
import { mimeOfName } from '../media/media-types.ts';
import { parseName, type StoredName, urlOf } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';
import { addRoute } from './http.ts';

/** Copies drawn at the same time; each may hold a whole picture in memory. */
const DRAWN_AT_ONCE = 2;

const FILE_HEADERS = {
  'Content-Security-Policy': 'sandbox',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'private, max-age=3600',
  'Content-Disposition': 'inline',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

const notFound = () => new AppError('NOT_FOUND', 'There is no such file, or it has expired.');

export type ResultLookup = (base: string) => Promise<TaskResult | undefined>;

/** Draws annotated copies that somebody asks for; two requests for one copy share the work. */
function annotatedCopies(storage: Storage, resultOf: ResultLookup, pixels: number) {
  const limit = pLimit(DRAWN_AT_ONCE);
  const underWay = new Map<string, Promise<void>>();

  async function draw(name: string, { base }: StoredName): Promise<void> {
    const result = await resultOf(base);
    if (result === undefined || result.annotated_image !== urlOf(name)) throw notFound();
    const original = parseName(result.original_image.slice(urlOf('').length));
    const mime = original === undefined ? undefined : mimeOfName(result.original_image);
    if (original === undefined || mime === undefined) throw notFound();
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
    const drawing = limit(() => draw(name, parsed)).finally(() => underWay.delete(name));
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
    const mime = parsed === undefined ? undefined : mimeOfName(name);
    if (parsed === undefined || mime === undefined) throw notFound();
    if (!(await storage.has(name))) {
      if (!parsed.annotated) throw notFound();
      await drawAnnotated(name, parsed);
    }
    response.set(FILE_HEADERS).type(mime);
    await new Promise<void>((resolve, reject) => {
      response.sendFile(
        name,
        { root: storage.folder, cacheControl: false },
        (error?: NodeJS.ErrnoException & { status?: number }) => {
          if (error === undefined || error === null || response.headersSent || error.code === 'ECONNABORTED')
            return resolve();
          reject(error.status === 404 ? notFound() : error);
        },
      );
    });
  };

  addRoute(router, '/uploads/:name', { get: serve as RequestHandler });
}
