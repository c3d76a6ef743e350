import type { RequestHandler, Router } from 'express';
import pLimit from 'p-limit';
import type { TaskResult } from '../contract/results.ts';
import { AppError } from '../errors.ts';
import { annotateImage } from '../media/annotate.ts';
import { type BoxToDraw, boxesToDraw } from '../media/boxes-to-draw.ts';
import { type ImageMime, isImageMime, mimeOfName } from '../media/media-types.ts';
import { parseName, type StoredName, urlOf } from '../storage/names.ts';
import type { Storage, StoredContent } from '../storage/storage.ts';
import { addRoute, clientGone } from './http.ts';
import { sendStored } from './send-stored.ts';

const FILE_HEADERS = {
  'Content-Security-Policy': 'sandbox',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'private, max-age=3600',
  'Content-Disposition': 'inline',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

const notFound = () => new AppError('NOT_FOUND', 'There is no such file, or it has expired.');

const DETECTION_TYPES: Record<string, string> = { json: 'application/json', ndjson: 'application/x-ndjson' };

/** Type by the name; undefined for what is never served. */
function servedType(name: string, { role, extension }: StoredName): string | undefined {
  return role === 'detections' ? DETECTION_TYPES[extension] : mimeOfName(name);
}

export type ResultLookup = (base: string) => Promise<TaskResult | undefined>;

/** Copies that are drawn at a time: sharp's threads are also needed for files, and sources may be copied first. */
const DRAWN_AT_ONCE = 2;

type ToDraw = { source: string; mime: ImageMime; boxes: BoxToDraw[] };

/** Draws annotated copies that somebody asks for, few at a time; requests for one copy share the work. */
function annotatedCopies(storage: Storage, resultOf: ResultLookup, pixels: number) {
  const underWay = new Map<string, Promise<void>>();
  const drawing = pLimit(DRAWN_AT_ONCE);

  /** What a copy shows. @throws AppError NOT_FOUND where no result names it */
  async function whatToDraw(name: string, { base }: StoredName): Promise<ToDraw> {
    const result = await resultOf(base);
    if (result === undefined || !('image' in result) || result.annotated_image !== urlOf(name)) throw notFound();
    const original = parseName(result.original_image.slice(urlOf('').length));
    const mime = original === undefined ? undefined : mimeOfName(result.original_image);
    if (original === undefined || mime === undefined || !isImageMime(mime)) throw notFound();
    const boxes = boxesToDraw('faces' in result ? { faces: result.faces } : { objects: result.objects });
    return { source: `${base}.${original.extension}`, mime, boxes };
  }

  async function draw(name: string, { source, mime, boxes }: ToDraw): Promise<void> {
    const local = await storage.fetch(source);
    if (local === undefined) throw notFound();
    const target = storage.temporaryPath();
    try {
      await annotateImage({ source: local.path, mime, boxes }, target, { pixels });
      await storage.commit(target, name);
    } catch (error) {
      await storage.discard(target);
      throw error;
    } finally {
      await local.release();
    }
  }

  return (name: string, parsed: StoredName): Promise<void> => {
    const earlier = underWay.get(name);
    if (earlier !== undefined) return earlier;
    const drawn = whatToDraw(name, parsed)
      .then((wanted) => drawing(() => draw(name, wanted)))
      .finally(() => underWay.delete(name));
    underWay.set(name, drawn);
    return drawn;
  };
}

/** `GET /api/uploads/:name`: originals and annotated copies, by the names that results give. */
export function addFileRoutes(router: Router, storage: Storage, resultOf: ResultLookup, pixels: number): void {
  const drawAnnotated = annotatedCopies(storage, resultOf, pixels);

  async function openDrawn(name: string, parsed: StoredName, gone: AbortSignal): Promise<StoredContent> {
    if (parsed.role !== 'annotated') throw notFound();
    await drawAnnotated(name, parsed);
    const content = await storage.open(name, gone);
    if (content === undefined) throw notFound();
    return content;
  }

  const serve: RequestHandler<{ name: string }> = async (request, response) => {
    const { name } = request.params;
    const parsed = parseName(name);
    const mime = parsed === undefined ? undefined : servedType(name, parsed);
    if (parsed === undefined || mime === undefined) throw notFound();
    const gone = clientGone(response);
    const content = (await storage.open(name, gone)) ?? (await openDrawn(name, parsed, gone));
    response.set({ ...FILE_HEADERS, 'Content-Type': mime });
    await sendStored(request, response, content, gone);
  };

  addRoute(router, '/uploads/:name', { get: serve as RequestHandler });
}
