import { createHash } from 'node:crypto';
import { json, type Request, type RequestHandler, type Response, type Router } from 'express';
import type { Config } from '../config.ts';
import { KIND_NAMES, KINDS, type Kind, MEDIA, type Media } from '../contract/kinds.ts';
import type { TaskOptions } from '../contract/options.ts';
import type { TaskResult } from '../contract/results.ts';
import { isFinished, type StoredFile } from '../contract/task.ts';
import { AppError } from '../errors.ts';
import { freeBuffer } from '../free-buffer.ts';
import type { Logger } from '../log.ts';
import type { ModelCatalog } from '../models/catalog.ts';
import type { Submission, TaskService } from '../queue/task-service.ts';
import { annotatedName, newBase, originalName } from '../storage/names.ts';
import type { Storage } from '../storage/storage.ts';
import { addRoute, clientGone, sendData } from './http.ts';
import { probeUpload } from './probe-upload.ts';
import { removeSoon } from './remove-soon.ts';
import {
  chooseModel,
  completeOptions,
  type DetectionRequest,
  readDetectionRequest,
  requireAnyModel,
} from './request-options.ts';
import { refuseTooLarge, type Upload, uploadReader } from './upload.ts';

/** The sync mode's one door to the detectors. */
export type SyncDetection = {
  /** @throws AppError as a task would fail */
  run(submission: Submission, signal: AbortSignal): Promise<TaskResult & { task_id: string }>;
};

export type DetectDependencies = {
  config: Config;
  catalog: ModelCatalog;
  storage: Storage;
  /** Exactly one of the two is there. */
  tasks: TaskService | undefined;
  sync: SyncDetection | undefined;
  /** What stands between a request and its upload: rate limit. */
  before: RequestHandler[];
  /** Aborts when the process is about to end. */
  closing: AbortSignal;
  log: Logger;
};

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

function readIdempotencyKey(request: Request): string | undefined {
  const key = request.get('idempotency-key')?.trim();
  if (key === undefined || key === '') return undefined;
  if (!IDEMPOTENCY_KEY.test(key))
    throw new AppError('BAD_REQUEST', 'Idempotency-Key must be 1 to 255 printable characters.');
  return key;
}

/** Two requests are the same where file, route and every given option are. */
function fingerprint(kind: Kind, media: Media, asked: DetectionRequest['options'], sha256: string): string {
  const options = Object.entries(asked).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([kind, media, options, sha256]))
    .digest('hex');
}

/** `POST /api/detect/<kind>/<media>` for every kind: upload -> storage -> queue, or straight to the detectors. */
export function addDetectRoutes(router: Router, dependencies: DetectDependencies): void {
  const { config, catalog, storage, tasks, sync, closing, log } = dependencies;
  const readUpload = uploadReader(storage, config.limits.uploadBytes);

  const removeStored = (name: string) => removeSoon(storage.remove(name), log);

  async function store(
    media: Media,
    upload: Upload,
    base: string,
    options: TaskOptions,
    gone: AbortSignal,
  ): Promise<{ file: StoredFile; annotated: string | null }> {
    const header = await probeUpload(media, upload, { pixels: config.limits.imagePixels }, gone);
    freeBuffer(upload.head);
    const name = originalName(base, header.extension);
    await storage.commit(upload.path, name, gone).catch((error: unknown) => {
      // An answer that never came may have been a yes.
      void removeStored(name);
      throw error;
    });
    return {
      file: {
        name,
        mime: header.mime,
        bytes: upload.bytes,
        sha256: upload.sha256,
        width: header.width,
        height: header.height,
      },
      annotated: options.annotate === 'false' ? null : annotatedName(base, header.annotatedExtension),
    };
  }

  /** From a received upload to a submission whose file has its name; the upload is gone where that fails. */
  async function prepare(
    request: Request,
    kind: Kind,
    media: Media,
    upload: Upload,
    gone: AbortSignal,
  ): Promise<{ submission: Submission; waitMs: number | undefined }> {
    try {
      const { options: asked, waitMs } = readDetectionRequest(
        media,
        request.query,
        request.body,
        request.get('prefer'),
      );
      const model = await chooseModel(kind, asked.model, catalog, config.models);
      const options = completeOptions(kind, media, model, asked, config);
      const key = readIdempotencyKey(request);
      const base = newBase();
      const stored = await store(media, upload, base, options, gone);
      const idempotency =
        key === undefined ? undefined : { key, fingerprint: fingerprint(kind, media, asked, upload.sha256) };
      return {
        submission: {
          kind,
          media,
          owner: request.owner,
          requestId: request.id,
          base,
          options,
          idempotency,
          ...stored,
          discardFile: () => removeStored(stored.file.name),
        },
        waitMs,
      };
    } catch (error) {
      await storage.discard(upload.path);
      throw error;
    }
  }

  async function answerQueued(
    service: TaskService,
    submission: Submission,
    waitMs: number | undefined,
    response: Response,
  ): Promise<void> {
    const { taskId, created } = await service.submit(submission);
    const { file, owner, kind } = submission;
    log.info(
      {
        taskId,
        requestId: submission.requestId,
        queue: KINDS[kind].queue,
        bytes: file.bytes,
        mime: file.mime,
        created,
      },
      'task accepted',
    );
    response.location(`/api/task/${taskId}`);
    if (waitMs !== undefined) {
      response.set('Preference-Applied', `wait=${waitMs / 1000}`);
      // The task is accepted whatever happens while we wait for it.
      const enough = AbortSignal.any([clientGone(response), closing]);
      const task = await service.waitForEnd(taskId, owner, waitMs, enough, kind).catch(() => undefined);
      if (task !== undefined && isFinished(task.state)) return sendData(response, 200, task);
    }
    sendData(response, 202, { task_id: taskId, status: 'queued', message: KINDS[kind].taskQueued });
  }

  function handler(kind: Kind, media: Media): RequestHandler {
    return async (request, response) => {
      const upload = await readUpload(request, response);
      const gone = clientGone(response);
      const { submission, waitMs } = await prepare(request, kind, media, upload, gone);
      if (sync !== undefined) sendData(response, 200, await sync.run(submission, gone));
      else if (tasks !== undefined) await answerQueued(tasks, submission, waitMs, response);
    };
  }

  /** What can be refused before anything is uploaded. */
  function admit(kind: Kind, media: Media): RequestHandler {
    return async (request, _response, next) => {
      readDetectionRequest(media, request.query, undefined, undefined);
      // The form may name another model than the default, and an idempotency key a task that is there already.
      const { model } = request.query;
      if (typeof model === 'string') await chooseModel(kind, model, catalog, config.models);
      else await requireAnyModel(kind, catalog, config.models);
      if (readIdempotencyKey(request) === undefined) await tasks?.checkCapacity(kind);
      next();
    };
  }

  for (const kind of KIND_NAMES) {
    for (const media of MEDIA) {
      addRoute(router, `/detect/${kind}/${media}`, {
        post: [
          refuseTooLarge(config.limits.uploadBytes),
          ...dependencies.before,
          admit(kind, media),
          // A form is expected: a body of JSON is read only to tell a broken one from one without a file.
          json({ limit: '64kb' }),
          handler(kind, media),
        ],
      });
    }
  }
}
